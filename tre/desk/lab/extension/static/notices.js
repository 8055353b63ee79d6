// What has become of requests, as notifications: each once, with what to do about it; of many at once, how many they are.

const MOST = 3;

export function notify(lab, gateway, running, trans, commands, settings) {
  const told = new Set();
  const { Notification } = lab.apputils;
  const kinds = { released: 'success', planned: 'info', waits: 'info' };
  const action = n => ({
    planned: { label: trans.__('Look at its plan…'), callback: () => running.planned(n.about) },
    released: { label: trans.__('Open'), callback: () => running.released(n.about) },
    waits: { label: trans.__('Review it'), callback: () => commands.execute('tre:open-review', { release: n.about }) }
  })[n.told] || { label: trans.__('Show my jobs'), callback: () => commands.execute('tre:show-jobs') };

  gateway.listeners.add(() => {
    if (!settings().notifications) return;
    // What is before the person just now needs no notification.
    const fresh = (gateway.overview?.notices || []).filter(x => !told.has(x.id) && !running.busy.has(x.about));
    for (const n of fresh) told.add(n.id);
    if (fresh.length > MOST) {
      Notification.info(trans.__('%1 notices are unread.', fresh.length), {
        autoClose: 12000, actions: [{ label: trans.__('Show them'), callback: () => commands.execute('tre:show-notices') }]
      });
      return;
    }
    for (const n of fresh) {
      const { label, callback } = action(n);
      Notification.emit(trans.__('%1: %2.', n.about, n.words), kinds[n.told] || 'warning', {
        autoClose: 12000,
        actions: [{ label, callback: () => { running.read(x => x.id === n.id).catch(() => {}); callback(); }, displayType: 'accent' }]
      });
    }
  });
}
