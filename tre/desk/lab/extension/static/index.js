// The plugin: commands, and everything that points at them (toolbar, menus and shortcuts do so in schemas/).
import { el } from './dom.js';
import { Gateway } from './gateway.js';
import { notify } from './notices.js';
import { Current } from './current.js';
import { Running } from './running.js';
import { SideBar } from './sidebar.js';

const ID = '@tre/lab:plugin';
// A wall with one gate.
const ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="M3 4h18v4h-8V6h-2v2H3zm0 6h6v4H3zm12 0h6v4h-6zM3 16h6v4H3zm12 0h6v4h-6zm-4-6h2v10h-2z"/></svg>';

// `own` finds JupyterLab's own modules; only notebooks are needed, so that Notebook 7 and the like can load it too.
export async function plugin(own) {
  const names = { application: 'application', apputils: 'apputils', notebook: 'notebook', services: 'services', ui: 'ui-components', settings: 'settingregistry', launcher: 'launcher', status: 'statusbar', translation: 'translation', files: 'filebrowser' };
  const found = await Promise.all(Object.entries(names).map(async ([key, name]) => [key, await own(`@jupyterlab/${name}`)]));
  const lab = Object.fromEntries(found);
  lab.widgets = await own('@lumino/widgets');
  const optional = [lab.apputils.ICommandPalette, lab.settings?.ISettingRegistry, lab.launcher?.ILauncher, lab.status?.IStatusBar, lab.translation?.ITranslator, lab.files?.IFileBrowserFactory, lab.application.ILayoutRestorer];
  const there = optional.filter(Boolean);
  return {
    id: ID,
    autoStart: true,
    requires: [lab.notebook.INotebookTracker],
    optional: there,
    activate: (app, tracker, ...given) => {
      const [palette, registry, launcher, status, translator, files, restorer] = optional.map(t => (t ? given[there.indexOf(t)] : null));
      activate(app, lab, tracker, { palette, registry, launcher, status, translator, files, restorer });
    }
  };
}

function activate(app, lab, tracker, { palette, registry, launcher, status, translator, files, restorer }) {
  const trans = (translator || lab.translation.nullTranslator).load('tre'), { commands, shell } = app;
  let set = { project: '', pollSeconds: 10, notifications: true };
  const gateway = new Gateway(lab.services);
  const running = new Running(app, lab, gateway, trans, () => set);
  const icon = new lab.ui.LabIcon({ name: 'tre:secure-area', svgstr: ICON });
  running.folder = () => files?.tracker.currentWidget?.model.path.replace(/^[^/]*:/, '') || '';

  const side = new SideBar(lab, gateway, running, trans, commands);
  const left = new lab.widgets.Widget({ node: side.node });
  left.id = 'tre-side-bar';
  left.title.icon = icon;
  left.title.caption = trans.__('Secure area');
  shell.add(left, 'left', { rank: 600 });
  const current = new Current(tracker, trans, commands);
  running.shown = current.shown;
  const right = new lab.widgets.Widget({ node: current.node });
  right.id = 'tre-this-notebook';
  right.title.icon = icon;
  right.title.caption = trans.__('This notebook in the secure area');
  shell.add(right, 'right', { rank: 600 });
  restorer?.add(left, left.id);
  restorer?.add(right, right.id);

  const role = () => gateway.overview?.me.role;
  const reveal = key => { shell.activateById(left.id); side.show(key); };
  const here = () => tracker.currentWidget;
  const selected = () => [...(files?.tracker.currentWidget?.selectedItems() || [])].find(f => f.type === 'notebook');
  // The one that was clicked on among the files, or the one in front.
  const which = args => {
    const path = args.path || (args.from === 'browser' ? selected()?.path : here()?.context.path);
    return path && { path, context: tracker.find(p => p.context.path === path)?.context };
  };

  const add = (id, label, caption, execute, more = {}) => commands.addCommand(id, {
    label, caption, execute, describedBy: { args: { type: 'object', properties: {} } }, ...more
  });
  add('tre:run-in-secure-area', trans.__('Run in secure area…'),
    trans.__('Run in secure area… Saves and rehearses this notebook first: you see what would leave and its price, and choose'),
    args => { const n = which(args); return n && running.run(n.path, n.context); }, { icon, isEnabled: args => args.from === 'browser' || Boolean(args.path || here()) });
  add('tre:show-what-would-leave', trans.__('What would leave?'), trans.__('Rehearse this notebook on the twin, and show what of it would leave: nothing is sent on'),
    async args => { const n = which(args); if (n) { shell.activateById(right.id); await running.check(n.path, n.context); } }, { icon, isEnabled: () => Boolean(here()) });
  add('tre:open-twin', trans.__('Explore a synthetic twin'), trans.__('Fetch a dataset’s twin to this desk, with a notebook to begin with'), args => running.twin(args.dataset), { icon });
  add('tre:open-released', trans.__('Open what was released…'), trans.__('Fetch a release, verify it, and open its notebook'), args => running.released(args.release), { icon });
  add('tre:show-jobs', trans.__('My secure jobs'), trans.__('Show what was sent to the secure area, and what became of it'), () => reveal('jobs'), { icon });
  add('tre:show-datasets', trans.__('Datasets and their twins'), trans.__('Show the datasets of your projects'), () => reveal('datasets'), { icon });
  add('tre:show-budget', trans.__('Privacy budget'), trans.__('Show what may still be spent'), () => reveal('budgets'), { icon });
  add('tre:open-review', trans.__('Review page (new tab)'), trans.__('The gateway’s own page, where output checkers decide and admins see the budgets'),
    args => {
      const pages = gateway.overview?.pages;
      const rest = args.release ? `/requests/${encodeURIComponent(args.release)}` : '/';
      if (pages) window.open(role() === 'admin' ? pages.budgets : `${pages.review}${rest}`, '_blank', 'noopener,noreferrer');
    }, { icon, isEnabled: () => role() === 'checker' || role() === 'admin' });

  const all = ['run-in-secure-area', 'show-what-would-leave', 'open-twin', 'open-released', 'show-jobs', 'show-datasets', 'show-budget', 'open-review'];
  for (const command of all) palette?.addItem({ command: `tre:${command}`, category: trans.__('Secure area') });
  if (launcher) tiles(launcher, gateway, trans, role);
  if (status) bottom(status, lab, gateway, trans, commands);
  notify(lab, gateway, running, trans, commands, () => set);
  gateway.listeners.add(() => all.forEach(c => commands.notifyCommandChanged(`tre:${c}`)));
  tracker.currentChanged.connect(() => commands.notifyCommandChanged('tre:run-in-secure-area'));

  const read = settings => {
    set = { ...set, ...settings.composite };
    gateway.seconds = Math.max(1, Number(set.pollSeconds) || 10);
  };
  registry?.load(ID).then(settings => { read(settings); settings.changed.connect(read); }).catch(error => console.warn('tre: no settings', error));
  // Nothing of ours while JupyterLab starts.
  app.restored.then(() => gateway.follow());
}

// In the launcher: what a researcher begins with, until it is known that the person is an output checker or an admin.
function tiles(launcher, gateway, trans, role) {
  const add = (name, rank) => launcher.add({ command: `tre:${name}`, category: trans.__('Secure area'), rank });
  const first = [add('open-twin', 0), add('show-jobs', 1)];
  gateway.listeners.add(function known() {
    if (!role()) return;
    gateway.listeners.delete(known);
    if (role() === 'researcher') return;
    first.forEach(tile => tile.dispose());
    add('open-review', 0);
    if (role() === 'admin') add('show-budget', 1);
  });
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
