// What JupyterLab loads first: a module federation container, written by hand. It hands JupyterLab's own modules on
// to index.js, and is gone from the way afterwards. There is no build step: these files are what runs.
(() => {
  const here = new URL('.', document.currentScript.src);
  const index = import(new URL('index.js', here).href);
  let shared = {};

  // One of JupyterLab's own modules, the very copy that JupyterLab uses; undefined where this one has none.
  async function own(name) {
    const versions = Object.values(shared[name] || {});
    const found = versions.find(v => v.loaded) || versions[0];
    return found && (await found.get())();
  }

  async function get(module) {
    if (module === './style') {
      const link = document.createElement('link');
      link.rel = 'stylesheet';
      link.href = new URL('style.css', here).href;
      document.head.append(link);
      return () => ({});
    }
    const { plugin } = await index;
    const found = await plugin(own);
    return () => ({ __esModule: true, default: found });
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['@tre/lab'] = { init: scope => { shared = scope; }, get };
})();
