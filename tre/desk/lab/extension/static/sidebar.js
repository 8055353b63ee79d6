// The left side bar: what is there for the person's role, each part with what to do where it is empty.
import { bar, button, el, fill, link } from './dom.js';

// Beside its words, never in place of them: told apart without colours too.
const SIGNS = { planned: '◇', in_progress: '▶', in_review: '◔', released: '✓', returned: '↩', rejected: '✕', failed: '!', rehearsal_failed: '!', revoked: '✕', rehearsing: '…' };

export class SideBar {
  constructor(lab, gateway, running, trans, commands) {
    Object.assign(this, { gateway, running, trans, commands });
    this.node = el('div', { class: 'tre-side', role: 'region', 'aria-label': trans.__('Secure area') });
    this.live = el('p', { class: 'tre-unseen', role: 'status' });
    this.body = el('div');
    this.node.append(this.live, this.body);
    this.before = new Map();
    gateway.listeners.add(() => this.draw());
    this.draw();
  }

  part(key, title, children) {
    return el('section', { 'aria-labelledby': `tre-${key}`, 'data-part': key }, el('h2', { id: `tre-${key}`, tabindex: -1, 'data-key': key }, title), children);
  }

  list(items, empty) {
    return items.length ? el('ul', { class: 'tre-list' }, items.map(i => el('li', {}, i))) : el('p', { class: 'tre-empty' }, empty);
  }

  draw() {
    const { overview: o, refused } = this.gateway, { trans } = this;
    if (!o) return fill(this.body, el('div', { class: 'tre-empty' }, refused
      ? [el('h2', {}, trans.__('Not connected')), el('p', {}, refused.message), el('p', {}, trans.__('Next step: %1', refused.nextStep)),
         button(trans.__('Look again'), () => this.gateway.look(), { 'data-key': 'again' })]
      : trans.__('Asking the gateway…')));
    const who = o.me.role === 'checker' ? trans.__('output checker') : o.me.role;
    fill(this.body,
      el('p', { class: 'tre-who' }, `${o.me.name} · ${who}${o.me.projects.length ? ` · ${o.me.projects.join(', ')}` : ''}`),
      o.isolation && o.isolation !== 'full' ? el('p', { class: 'tre-fail' }, trans.__('Isolation of notebooks is %1 in this area: it may hold public data only.', o.isolation)) : null,
      this.notices(o.notices.filter(n => !this.running.busy.has(n.about))),
      o.datasets ? this.datasets(o.datasets) : null, o.jobs ? this.jobs(o.jobs) : null, o.releases ? this.releases(o.releases) : null,
      o.queue ? this.queue(o) : null, o.budgets ? this.budgets(o) : null);
    this.say(o.jobs || []);
  }

  datasets(found) {
    const { trans } = this;
    return this.part('datasets', trans.__('Datasets and their twins'), this.list(found.map(d => [
      el('strong', {}, d.title), el('span', { class: 'tre-small' }, trans.__('%1, %2 columns', d.id, d.columns)),
      el('span', { class: 'tre-small' }, d.says || trans.__('It has no synthetic twin yet.')),
      d.tier ? button(trans.__('Explore its twin'), () => this.running.twin(d.id), { 'data-key': `twin ${d.id}`, 'aria-label': trans.__('Explore the twin of %1', d.title) }) : null
    ]), trans.__('Your projects have no datasets with data yet. An admin adds them in the project’s policy.')));
  }

  jobs(found) {
    const { trans, running } = this;
    return this.part('jobs', trans.__('My jobs'), this.list(found.map(j => [
      el('strong', {}, el('span', { 'aria-hidden': true }, `${SIGNS[j.stage] || '·'} `), j.name),
      el('span', { class: 'tre-small' }, `${j.id} · ${j.project}`),
      j.final ? null : bar(j.place / 100, trans.__('How far %1 is', j.name)),
      el('span', { class: `tre-stage tre-${j.stage}` }, j.sentence),
      j.stage === 'planned' ? button(trans.__('Look at its plan…'), () => running.planned(j.id), { 'data-key': `plan ${j.id}`, 'aria-label': trans.__('Look at the plan of %1', j.name) }) : null,
      j.stage === 'released' ? button(trans.__('Open'), () => running.released(j.release), { 'data-key': `open ${j.id}`, 'aria-label': trans.__('Open what was released of %1', j.name) }) : null,
      ['returned', 'rejected', 'failed', 'rehearsal_failed', 'revoked'].includes(j.stage)
        ? button(trans.__('Why?'), () => running.why(j.id), { 'data-key': `why ${j.id}`, 'aria-label': trans.__('Why %1 did not come back', j.name) }) : null,
      ['planned', 'in_progress', 'in_review'].includes(j.stage)
        ? button(trans.__('Take it back'), () => running.withdraw(j.id), { 'data-key': `back ${j.id}`, 'aria-label': trans.__('Take %1 back', j.name) }) : null
    ]), trans.__('Nothing was sent yet. Open a notebook and choose “Run in secure area…”: it is rehearsed on the twin first, and you see the price before anything is charged.')));
  }

  releases(found) {
    const { trans } = this;
    return this.part('releases', trans.__('Released'), this.list(found.map(r => [
      el('strong', {}, r.id), el('span', { class: 'tre-small' }, trans.__('%1 · %2 with noise, %3 without · since %4', r.project, r.statistics, r.outputs, r.since)),
      r.stage === 'revoked' ? el('span', { class: 'tre-fail' }, trans.__('revoked: use it no more'))
        : button(trans.__('Open'), () => this.running.released(r.id), { 'data-key': `release ${r.id}`, 'aria-label': trans.__('Open %1', r.id) })
    ]), trans.__('What leaves the secure area is listed here, with a signed receipt.')));
  }

  queue(o) {
    const { trans } = this;
    return this.part('queue', trans.__('Waiting for your vote'), [this.list(o.queue.map(r => [
      el('strong', {}, r.release), el('span', { class: 'tre-small' }, trans.__('%1, from %2, %3', r.project, r.person, r.submitted)),
      el('span', { class: 'tre-small' }, trans.__('%1 with noise, %2 without', r.statistics, r.outputs)),
      link(trans.__('Review %1', r.release), `${o.pages.review}/requests/${r.release}`)
    ]), trans.__('Nothing waits. You are told here when a request comes to review.')),
    el('p', {}, link(trans.__('The review page'), `${o.pages.review}/`)),
    el('p', { class: 'tre-small' }, trans.__('You decide there, signed in with your own token: code that runs in JupyterLab cannot.'))]);
  }

  budgets(o) {
    const { trans } = this;
    return this.part('budgets', trans.__('Privacy budgets'), [this.list(o.budgets.map(b => [
      el('strong', {}, `${b.account}${b.project ? ` (${b.project})` : ''}`), el('span', { class: 'tre-small' }, b.kind),
      bar(b.share, trans.__('Used of %1', b.account)),
      el('span', {}, trans.__('epsilon %1 of %2 still fits (delta %3)', b.left.toFixed(3), b.limit.toFixed(3), b.delta))
    ]), trans.__('No project of yours has an allowance yet.')),
    o.pages.budgets ? [el('p', {}, link(trans.__('The page of budgets'), o.pages.budgets)),
      el('p', { class: 'tre-small' }, trans.__('A budget is changed in the policies, with a reason; nothing here changes one.'))] : null]);
  }

  notices(found) {
    const { trans, running } = this;
    if (!found.length) return null;
    return this.part('notices', trans.__('Unread notices'), [this.list(found.map(n => [el('strong', {}, n.about), el('span', {}, n.words)]), ''),
      button(trans.__('Mark as read'), () => running.guarded(() => running.read(() => true)), { 'data-key': 'read' })]);
  }

  // For who does not see the list: what has moved.
  say(jobs) {
    const moved = jobs.filter(j => this.before.has(j.id) && this.before.get(j.id) !== j.stage);
    if (moved.length) this.live.textContent = moved.map(j => `${j.name}: ${j.sentence}`).join('. ');
    this.before = new Map(jobs.map(j => [j.id, j.stage]));
  }

  // The palette gives the focus back to what had it, once its command is done: so this is later.
  show(key) {
    setTimeout(() => {
      const heading = this.node.querySelector(`#tre-${key}`) || this.node.querySelector('h2');
      heading?.scrollIntoView({ block: 'start' });
      heading?.focus();
    });
  }
}
