// What a person does here, step by step. Nothing is confirmed, fetched or taken back that was not chosen.
import { el } from './dom.js';
import { failure, plan, returned } from './plan.js';

export class Running {
  constructor(app, lab, gateway, trans, settings) {
    Object.assign(this, { app, lab, gateway, trans, settings });
    this.going = new Set();
    this.busy = new Set();  // jobs that are before the person just now
  }

  dialog(title, children, buttons, more = {}) {
    const body = new this.lab.widgets.Widget({ node: el('div', { class: 'tre-dialog' }, children) });
    const Dialog = this.lab.apputils.Dialog;
    const found = new Dialog({ title, body, buttons: [Dialog.cancelButton({ label: more.close || this.trans.__('Cancel') }), ...buttons], defaultButton: 0 });
    found.addClass('tre-modal');
    found.node.setAttribute('aria-label', title);
    return found;
  }

  // A refusal: what happened, and what to do about it.
  async tell(refused) {
    const { trans } = this, { Dialog } = this.lab.apputils;
    const body = new this.lab.widgets.Widget({ node: el('div', { class: 'tre-dialog' },
      el('p', {}, refused.message), refused.nextStep ? el('p', {}, trans.__('Next step: %1', refused.nextStep)) : null) });
    await this.lab.apputils.showDialog({ title: trans.__('That could not be done'), body, buttons: [Dialog.okButton({ label: trans.__('Close') })] });
  }

  guarded = async step => {
    try {
      return await step();
    } catch (refused) {
      if (!refused.code) console.error(refused);
      await this.tell(refused);
    }
  };

  async chosen(title, label, items) {
    if (items.length < 2) return items[0];
    const found = await this.lab.apputils.InputDialog.getItem({ title, label, items, okLabel: this.trans.__('Choose') });
    return found.button.accept ? found.value : undefined;
  }

  async project() {
    const mine = this.gateway.overview?.me.projects || [];
    const set = this.settings().project;
    if (set || mine.length < 2) return set || '';
    return this.chosen(this.trans.__('For which project?'), this.trans.__('Project'), mine);
  }

  // Save, rehearse on the twin with a sign that it goes on, and the job with its plan; undefined where the person stopped it.
  async rehearsed(path, context) {
    const { trans, gateway } = this;
    const project = await this.project();
    if (project === undefined) return undefined;
    if (context?.model.dirty) await context.save();
    const said = el('p', { role: 'status' }, trans.__('Saved; sending it to its rehearsal…'));
    const waits = this.dialog(trans.__('Rehearsing %1', path.split('/').pop()),
      [said, el('progress', { 'aria-label': trans.__('Rehearsing') }), el('p', {}, trans.__('It runs on the synthetic twin, which fixes what would leave. Nothing is charged.'))], []);
    let stopped = false, job;
    const ended = waits.launch().then(() => { stopped = true; }, () => { stopped = true; });
    try {
      job = (await gateway.post('rehearsals', { path: this.app.serviceManager.contents.localPath(path), project })).id;
      this.busy.add(job);
      const view = await gateway.until(job, v => { said.textContent = v.sentence; return v.stage !== 'rehearsing'; }, () => stopped);
      if (stopped) {
        await this.unsent(job);
        this.busy.delete(job);
        return undefined;
      }
      return view;
    } catch (refused) {
      this.busy.delete(job);
      throw refused;
    } finally {
      if (!stopped) waits.reject();
      await ended;
    }
  }

  // Who clicks twice begins a thing once.
  once = (what, step) => this.guarded(async () => {
    if (this.going.has(what)) return;
    this.going.add(what);
    await step().finally(() => this.going.delete(what));
  });

  // The flow of *Run in secure area…*
  run = (path, context) => this.once(`run ${path}`, async () => {
    const view = await this.rehearsed(path, context);
    if (!view) return;
    this.shown?.(path, view);
    await this.ask(view, true).finally(() => this.busy.delete(view.id));
  });

  // Take it back if it is still what its person saw: in another tab, or at a terminal, it may have been confirmed since.
  async unsent(job) {
    const { stage } = await this.gateway.get(`jobs/${job}`);
    if (['rehearsing', 'planned'].includes(stage)) await this.gateway.post(`jobs/${job}/withdraw`);
    return ['rehearsing', 'planned', 'rehearsal_failed', 'withdrawn'].includes(stage);
  }

  // A planned job before its person: confirm it, or not. One that was `made` for this question is taken back then.
  async ask(view, made) {
    const { trans, gateway } = this, { Dialog } = this.lab.apputils, title = trans.__('Run %1 in the secure area?', view.name);
    if (!view.plan) {
      const found = view.failure ? failure(view.failure, trans) : [el('p', {}, view.sentence)];
      await this.dialog(trans.__('The rehearsal of %1 failed', view.name), [...found, el('p', {}, trans.__('Nothing was charged.'))], [], { close: trans.__('Close') }).launch();
      return;
    }
    if (view.stage !== 'planned') {
      await this.dialog(view.name, el('p', {}, view.sentence), [], { close: trans.__('Close') }).launch();
      await gateway.look();
      return;
    }
    const fits = view.plan.affordable;
    const go = Dialog.okButton({ label: trans.__('Run in secure area'), caption: trans.__('Reserve this cost and send it in') });
    const answer = await this.dialog(title, plan(view, trans), fits ? [go] : [], made ? {} : { close: trans.__('Not now') }).launch();
    if (!answer.button.accept) {
      if (made && await this.unsent(view.id)) this.lab.apputils.Notification.info(trans.__('%1 was taken back; nothing was charged.', view.name), { autoClose: 4000 });
    } else {
      await gateway.post(`jobs/${view.id}/confirm`, { plan: view.plan.digest });
      this.lab.apputils.Notification.success(trans.__('%1 is on its way: its cost is reserved.', view.name), {
        autoClose: 6000, actions: [{ label: trans.__('Show my jobs'), callback: () => this.app.commands.execute('tre:show-jobs') }]
      });
      await this.app.commands.execute('tre:show-jobs');
    }
    await gateway.look();
  }

  // A job of the list whose plan waits: to look at it changes nothing.
  planned = job => this.guarded(async () => this.ask(await this.gateway.get(`jobs/${job}`), false));

  withdraw = job => this.guarded(async () => {
    await this.gateway.post(`jobs/${job}/withdraw`);
    await this.gateway.look();
  });

  // What would leave, and nothing of it kept: as `tre submit --check`.
  check = (path, context) => this.once(`check ${path}`, async () => {
    const view = await this.rehearsed(path, context);
    if (!view) return;
    this.shown?.(path, view);
    await this.unsent(view.id).finally(() => this.busy.delete(view.id));
    await this.gateway.look();
  });

  // A new file beside what is open; never over one that is there.
  async write(name, notebook) {
    const { contents } = this.app.serviceManager, folder = this.folder(), stem = name.slice(0, -'.ipynb'.length);
    const there = new Set((await contents.get(folder)).content.map(f => f.name));
    let free = name;
    for (let n = 1; there.has(free); n++) free = `${stem}-${n}.ipynb`;
    const path = folder ? `${folder}/${free}` : free;
    await contents.save(path, { type: 'notebook', format: 'json', content: notebook });
    return path;
  }

  open = path => this.app.commands.execute('docmanager:open', { path, factory: 'Notebook' });

  twin = named => this.guarded(async () => {
    const { trans, gateway } = this;
    if (!gateway.overview) await gateway.look();
    if (gateway.refused) throw gateway.refused;
    const there = (gateway.overview.datasets || []).filter(d => d.tier).map(d => d.id);
    if (!named && !there.length) {
      throw Object.assign(new Error(trans.__('You have no dataset with a twin yet.')), { code: 'no_twin', nextStep: trans.__('An admin adds you to a project, or makes the twin.') });
    }
    const dataset = named || await this.chosen(trans.__('Explore a synthetic twin'), trans.__('Dataset'), there);
    if (!dataset) return;
    const made = await gateway.post(`twins/${dataset}`);
    await this.open(await this.write(made.name, made.notebook));
    this.lab.apputils.Notification.info(trans.__('The synthetic twin of %1 is at this desk. Run the cells: nothing can go wrong, and nothing is charged.', dataset), { autoClose: 8000 });
  });

  released = named => this.guarded(async () => {
    const { trans, gateway } = this;
    if (!gateway.overview) await gateway.look();
    if (gateway.refused) throw gateway.refused;
    const there = (gateway.overview.releases || []).filter(r => r.stage === 'released').map(r => r.id);
    if (!named && !there.length) {
      throw Object.assign(new Error(trans.__('Nothing has been released to you yet.')), { code: 'no_release', nextStep: trans.__('Run a notebook in the secure area.') });
    }
    const release = named || await this.chosen(trans.__('Open what was released'), trans.__('Release'), there);
    if (!release) return;
    const got = await gateway.post(`releases/${release}`);
    const path = await this.write(got.name, got.notebook);
    await this.open(path);
    await this.read(n => n.about === release);
    this.lab.apputils.Notification.success(trans.__('%1 is at this desk, and every byte fits its receipt. Run its notebook: it shows the released values.', release), {
      autoClose: 15000, actions: [{ label: trans.__('Run it here'), callback: () => this.open(path).then(() => this.app.commands.execute('notebook:run-all-cells')) }]
    });
  });

  // Notices about what the person has before them now.
  async read(which) {
    const found = (this.gateway.overview?.notices || []).filter(which).map(n => n.id);
    if (found.length) await this.gateway.post('notices', { notices: found });
    await this.gateway.look();
  }

  // Of a job in the list that was returned, rejected or failed.
  why = job => this.guarded(async () => {
    const { trans } = this, view = await this.gateway.get(`jobs/${job}`);
    const said = view.comments.map(c => el('blockquote', { class: 'tre-said' }, c));
    const parts = [el('p', {}, view.sentence), ...said, ...(view.failure ? failure(view.failure, trans) : []), view.plan ? returned(view.plan, trans) : null];
    const { Dialog } = this.lab.apputils;
    const body = new this.lab.widgets.Widget({ node: el('div', { class: 'tre-dialog' }, parts) });
    await this.lab.apputils.showDialog({ title: view.name, body, buttons: [Dialog.okButton({ label: trans.__('Close') })] });
  });
}
