// The right side bar: of the notebook in front, what would leave and why something would be returned.
import { button, el, fill } from './dom.js';
import { failure, plan } from './plan.js';

export class Current {
  constructor(tracker, trans, commands) {
    Object.assign(this, { tracker, trans, commands });
    this.found = new Map();  // by path
    this.node = el('div', { class: 'tre-side', role: 'region', 'aria-label': trans.__('This notebook in the secure area') });
    tracker.currentChanged.connect(() => this.draw());
    this.draw();
  }

  shown = (path, view) => {
    this.found.set(path, view);
    this.draw();
  };

  draw() {
    const { trans, commands } = this, panel = this.tracker.currentWidget;
    if (!panel) return fill(this.node, el('p', { class: 'tre-empty' }, trans.__('Open a notebook: here you see what of it would leave the secure area, at which price, and what output checkers would send back.')));
    const path = panel.context.path, view = this.found.get(path);
    fill(this.node, el('h2', {}, path.split('/').pop()),
      el('div', { class: 'tre-buttons' },
        button(trans.__('What would leave?'), () => commands.execute('tre:show-what-would-leave'), { 'data-key': 'look' }),
        button(trans.__('Run in secure area…'), () => commands.execute('tre:run-in-secure-area'), { 'data-key': 'run' })),
      !view ? el('p', { class: 'tre-empty' }, trans.__('Not looked at yet. The notebook is rehearsed on the synthetic twin for it; nothing is charged, and nothing leaves.'))
        : view.plan ? plan(view, trans) : view.failure ? failure(view.failure, trans) : el('p', {}, view.sentence),
      view ? el('p', { class: 'tre-small' }, trans.__('As it was saved for %1, submitted %2.', view.id, view.submitted)) : null);
  }
}
