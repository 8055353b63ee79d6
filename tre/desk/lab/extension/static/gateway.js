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
    Object.assign(this, { begun: 0, shown: 0, failures: 0 });  // looks
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
    const told = await response.json().catch(() => null);
    if (response.ok && told) return told;
    if (response.ok) throw new Refused('server_unclear', 'Something else than the desk’s server answered.', 'Load this page anew: a sign-in may have run out.');
    const next = [401, 403].includes(response.status) ? 'Sign in to JupyterLab again.' : 'Try again; or use a terminal: tre --help';
    throw new Refused(told?.code || `http_${response.status}`, told?.message || 'The desk’s server refused.', told?.next_step || next);
  }

  get = path => this.ask('GET', path);
  post = (path, body = {}) => this.ask('POST', path, body);

  // Look now; listeners are told when anything is another than before. Of looks that overtake each other the later one counts.
  async look() {
    const mine = ++this.begun, [overview, refused] = await this.get('overview').then(told => [told, null], error => [null, error]);
    if (mine < this.shown) return;
    const before = JSON.stringify([this.overview, this.refused?.code]);
    Object.assign(this, { shown: mine, overview, refused, failures: refused ? this.failures + 1 : 0 });
    if (JSON.stringify([overview, refused?.code]) === before) return;
    for (const listener of this.listeners) {
      try {
        listener();
      } catch (error) {  // one part that cannot show it keeps no other from it, and ends no looking
        console.error(error);
      }
    }
  }

  // Until the next look: sooner while a job moves, ever later while nobody answers.
  wait() {
    const moves = (this.overview?.jobs || []).some(j => !j.final && j.stage !== 'planned');
    return moves ? Math.min(2, this.seconds) : Math.max(this.seconds, Math.min(300, this.seconds * 2 ** (this.failures - 1)));
  }

  // Again and again; not at all while nobody looks.
  follow() {
    const again = async () => {
      if (!document.hidden) await this.look();
      setTimeout(again, 1000 * this.wait());
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
