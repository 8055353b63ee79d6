// What is asked of the desk's server, and what was told last. The gateway's token stays there: the browser never has it.

export class Refused extends Error {
  constructor(code, message, nextStep) {
    super(message);
    this.code = code;
    this.nextStep = nextStep;
  }
}

export class Gateway {
  constructor(services) {
    this.services = services;
    this.settings = services.ServerConnection.makeSettings();
    this.overview = null;
    this.refused = null;
    this.listeners = new Set();
    this.seconds = 10;
  }

  async ask(method, path, body) {
    const url = `${this.settings.baseUrl}tre/${path}`;
    const request = { method, ...(body ? { body: JSON.stringify(body) } : {}) };
    let response;
    try {
      response = await this.services.ServerConnection.makeRequest(url, request, this.settings);
    } catch {
      throw new Refused('server_unreachable', 'JupyterLab’s own server does not answer.', 'Is it still running?');
    }
    const told = await response.json().catch(() => ({}));
    if (response.ok) return told;
    throw new Refused(told.code || `http_${response.status}`, told.message || 'The desk’s server refused.', told.next_step || 'Sign in to JupyterLab again.');
  }

  get = path => this.ask('GET', path);
  post = (path, body = {}) => this.ask('POST', path, body);

  // Look now; listeners are told when anything is another than before.
  async look() {
    const before = JSON.stringify([this.overview, this.refused?.code]);
    try {
      this.overview = await this.get('overview');
      this.refused = null;
    } catch (refused) {
      this.overview = null;
      this.refused = refused;
    }
    if (JSON.stringify([this.overview, this.refused?.code]) !== before) for (const listener of this.listeners) listener();
  }

  // Again and again: sooner while a job moves, not at all while nobody looks.
  follow() {
    const again = async () => {
      if (!document.hidden) await this.look();
      const moves = (this.overview?.jobs || []).some(j => !j.final && j.stage !== 'planned');
      setTimeout(again, 1000 * (moves ? Math.min(2, this.seconds) : this.seconds));
    };
    document.addEventListener('visibilitychange', () => document.hidden || this.look());
    again();
  }

  // The job once `done` is true of it.
  async until(job, done, stopped = () => false) {
    for (;;) {
      const view = await this.get(`jobs/${job}`);
      if (done(view) || stopped()) return view;
      await new Promise(resolve => setTimeout(resolve, 500));
    }
  }
}
