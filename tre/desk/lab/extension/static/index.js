// The plugin: commands, and everything that points at them (toolbar, menus and shortcuts do so in schemas/). What does the
// work, desk.js and what that imports, is loaded when JupyterLab stands: its start waits for none of it.

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
    id: '@tre/lab:plugin',
    autoStart: true,
    requires: [lab.notebook.INotebookTracker],
    optional: there,
    activate: (app, tracker, ...given) => {
      const [palette, registry, launcher, status, translator, files, restorer] = optional.map(t => (t ? given[there.indexOf(t)] : null));
      activate({ app, lab, tracker, palette, registry, launcher, status, translator, files, restorer });
    }
  };
}

function activate({ app, lab, tracker, palette, launcher, translator, files, restorer, ...more }) {
  const trans = (translator || lab.translation.nullTranslator).load('tre'), { commands, shell } = app;
  const icon = new lab.ui.LabIcon({ name: 'tre:secure-area', svgstr: ICON });
  const bar = (area, id, caption) => {
    const widget = new lab.widgets.Widget();
    widget.id = id;
    widget.title.icon = icon;
    widget.title.caption = caption;
    shell.add(widget, area, { rank: 600 });
    restorer?.add(widget, id);
    return widget;
  };
  const left = bar('left', 'tre-side-bar', trans.__('Secure area'));
  const right = bar('right', 'tre-this-notebook', trans.__('This notebook in the secure area'));
  const tile = (name, rank) => launcher?.add({ command: `tre:${name}`, category: trans.__('Secure area'), rank });
  const tiles = [tile('open-twin', 0), tile('show-jobs', 1)];

  let desk = null;
  const loaded = app.restored.then(() => import('./desk.js')).then(({ Desk }) => {
    desk = new Desk({ app, lab, tracker, trans, files, left, right, tile, tiles, ...more });
    desk.changed = () => all.forEach(c => commands.notifyCommandChanged(`tre:${c}`));
    desk.begin();
  });

  const all = [];
  const add = (id, label, caption, step, isEnabled = () => true) => {
    all.push(id.slice('tre:'.length));
    commands.addCommand(id, {
      label, caption, icon, isEnabled, describedBy: { args: { type: 'object', properties: {} } },
      execute: args => loaded.then(() => step(args))
    });
    palette?.addItem({ command: id, category: trans.__('Secure area') });
  };
  add('tre:run-in-secure-area', trans.__('Run in secure area…'),
    trans.__('Run in secure area… Saves and rehearses this notebook first: you see what would leave and its price, and choose'),
    args => desk.run(args), args => args.from === 'browser' || Boolean(args.path || tracker.currentWidget));
  add('tre:show-what-would-leave', trans.__('What would leave?'), trans.__('Rehearse this notebook on the twin, and show what of it would leave: nothing is sent on'),
    args => desk.check(args), () => Boolean(tracker.currentWidget));
  add('tre:open-twin', trans.__('Explore a synthetic twin'), trans.__('Fetch a dataset’s twin to this desk, with a notebook to begin with'), args => desk.running.twin(args.dataset));
  add('tre:open-released', trans.__('Open what was released…'), trans.__('Fetch a release, verify it, and open its notebook'), args => desk.running.released(args.release));
  add('tre:show-jobs', trans.__('My secure jobs'), trans.__('Show what was sent to the secure area, and what became of it'), () => desk.reveal('jobs'));
  add('tre:show-datasets', trans.__('Datasets and their twins'), trans.__('Show the datasets of your projects'), () => desk.reveal('datasets'));
  add('tre:show-budget', trans.__('Privacy budget'), trans.__('Show what may still be spent'), () => desk.reveal('budgets'));
  add('tre:show-notices', trans.__('Unread notices'), trans.__('Show what you have not read yet of your requests'), () => desk.reveal('notices'));
  add('tre:open-review', trans.__('Review page (new tab)'), trans.__('The gateway’s own page, where output checkers decide and admins see the budgets'),
    args => desk.review(args.release), () => ['checker', 'admin'].includes(desk?.role));
  tracker.currentChanged.connect(() => commands.notifyCommandChanged('tre:run-in-secure-area'));
}
