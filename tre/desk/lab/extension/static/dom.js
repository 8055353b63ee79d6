// Nodes from plain values. Every text is a text node: nothing that anybody wrote is ever read as HTML.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'onclick') node.addEventListener('click', value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...children.flat(Infinity).filter(c => c != null && c !== false).map(c => (c instanceof Node ? c : String(c))));
  return node;
}

export const button = (label, onclick, more = {}) => el('button', { type: 'button', class: 'tre-button', onclick, ...more }, label);

// To a page of the gateway, in a tab of its own that knows nothing of this one.
export const link = (label, href) => el('a', { class: 'tre-link', href, target: '_blank', rel: 'noopener noreferrer' }, label, el('span', { 'aria-hidden': true }, ' ↗'));

export const bar = (share, label) => el('progress', { max: 100, value: Math.round(100 * share), 'aria-label': label });

export function table(caption, columns, rows) {
  const cells = (tag, values, more = {}) => values.map(v => el(tag, more, v));
  return el('table', { class: 'tre-table' },
    el('caption', {}, caption),
    el('thead', {}, el('tr', {}, cells('th', columns, { scope: 'col' }))),
    el('tbody', {}, rows.map(row => el('tr', {}, row.map((v, i) => el('td', { 'data-column': columns[i] }, v))))));
}

// Put `children` into `node` in place of what is there; whoever had the keyboard's focus keeps it, by the name in data-key.
export function fill(node, ...children) {
  const had = node.contains(document.activeElement) ? document.activeElement.getAttribute('data-key') : null;
  node.replaceChildren(...children.flat(Infinity).filter(c => c != null && c !== false));
  if (had) [...node.querySelectorAll('[data-key]')].find(e => e.getAttribute('data-key') === had)?.focus();
}
