// The desk, once JupyterLab stands: side bars, status bar, notifications, and what the commands do.
import { el } from './dom.js';
import { Current } from './current.js';
import { Gateway } from './gateway.js';
import { notify } from './notices.js';
import { Running } from './running.js';
import { SideBar } from './sidebar.js';

export class Desk {
  constructor(given) {
    const { app, lab, tracker, trans, files, left, right, registry, status, tile, tiles } = given, { commands } = app;
    Object.assign(this, { shell: app.shell, tracker, files, left, right, registry, changed: () => {} });
    this.set = { project: '', pollSeconds: 10, notifications: true };
    this.gateway = new Gateway(lab.services);
    this.running = new Running(app, lab, this.gateway, trans, () => this.set);
    this.running.folder = () => files?.tracker.currentWidget?.model.path.replace(/^[^/]*:/, '') || '';
    this.side = new SideBar(lab, this.gateway, this.running, trans, commands);
    left.node.append(this.side.node);
    const current = new Current(tracker, trans, commands);
    this.running.shown = current.shown;
    right.node.append(current.node);
    this.gateway.listeners.add(() => this.changed());
    this.gateway.listeners.add(() => this.tiles(tile, tiles.filter(Boolean)));
    if (status) bottom(status, lab, this.gateway, trans, commands);
    notify(lab, this.gateway, this.running, trans, commands, () => this.set);
  }

  begin() {
    const read = settings => {
      this.set = { ...this.set, ...settings.composite };
      this.gateway.seconds = Math.max(1, Number(this.set.pollSeconds) || 10);
    };
    this.registry?.load('@tre/lab:plugin').then(settings => { read(settings); settings.changed.connect(read); }).catch(error => console.warn('tre: no settings', error));
    this.gateway.follow();
  }

  get role() {
    return this.gateway.overview?.me.role;
  }

  // In the launcher: what a researcher begins with, until it is known that the person is an output checker or an admin.
  tiles(tile, first) {
    if (!this.role || this.tiled) return;
    this.tiled = true;
    if (this.role === 'researcher') return;
    first.forEach(one => one.dispose());
    tile('open-review', 0);
    if (this.role === 'admin') tile('show-budget', 1);
  }

  reveal(key) {
    this.shell.activateById(this.left.id);
    this.side.show(key);
  }

  // The notebook that was clicked on among the files, or the one in front.
  which(args) {
    const selected = [...(this.files?.tracker.currentWidget?.selectedItems() || [])].find(f => f.type === 'notebook');
    const path = args.path || (args.from === 'browser' ? selected?.path : this.tracker.currentWidget?.context.path);
    return [path, this.tracker.find(p => p.context.path === path)?.context];
  }

  async run(args) {
    const [path, context] = this.which(args);
    if (path) await this.running.run(path, context);
  }

  async check(args) {
    const [path, context] = this.which(args);
    if (!path) return;
    this.shell.activateById(this.right.id);
    await this.running.check(path, context);
  }

  // On the gateway's own page, in a tab that knows nothing of this one.
  review(release) {
    const pages = this.gateway.overview?.pages, rest = release ? `/requests/${encodeURIComponent(release)}` : '/';
    if (pages) window.open(this.role === 'admin' ? pages.budgets : `${pages.review}${rest}`, '_blank', 'noopener,noreferrer');
  }
}

// What is left of the project's budget, in the status bar.
function bottom(status, lab, gateway, trans, commands) {
  const node = el('button', { type: 'button', class: 'tre-status', onclick: () => commands.execute('tre:show-budget') });
  const item = new lab.widgets.Widget({ node: el('div', { class: 'tre-status-item' }, node) });
  // The allowance of one's own project; admins have the list.
  const left = () => gateway.overview?.budgets?.find(b => b.project && b.kind === 'project');
  gateway.listeners.add(() => {
    const b = left();
    node.textContent = b ? trans.__('epsilon %1 left (%2)', b.left.toFixed(2), b.project || b.account) : '';
    node.setAttribute('aria-label', b ? trans.__('Privacy budget of %1: epsilon %2 of %3 is left, at delta %4', b.project || b.account, b.left.toFixed(2), b.limit.toFixed(2), b.delta) : trans.__('Privacy budget'));
    item.setHidden(!b);
  });
  item.hide();
  status.registerStatusItem('tre:budget', { item, align: 'left', rank: 50 });
}
