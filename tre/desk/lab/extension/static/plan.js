// A plan as people read it before they confirm it: what would leave, at which price, and what would come back.
import { el, table } from './dom.js';

export function plan(view, trans) {
  const p = view.plan, parts = [];
  if (p.statistics.length) parts.push(table(trans.__('Statistics, with noise'),
    [trans.__('release'), trans.__('dataset'), trans.__('asks for'), trans.__('epsilon'), trans.__('expected error (95 %)')], p.statistics));
  if (p.estimates.length) parts.push(table(trans.__('Estimates over blocks, with noise'),
    [trans.__('estimate'), trans.__('how'), trans.__('numbers'), trans.__('epsilon'), trans.__('blocks needed'), trans.__('expected error (95 %)'), trans.__('interval')], p.estimates));
  if (p.outputs.length) parts.push(table(trans.__('Outputs without noise: two people decide'),
    [trans.__('output'), trans.__('kind'), trans.__('context'), trans.__('on the twin')], p.outputs.map(o => [o.name, o.kind, o.context, o.verdict])));
  for (const note of p.notes) parts.push(el('p', { class: 'tre-note' }, trans.__('Note: %1.', note)));
  for (const cost of p.costs) parts.push(el('div', { class: cost.affordable ? 'tre-cost' : 'tre-cost tre-fail' },
    cost.said.map(s => el('p', {}, s)), cost.affordable ? null : el('p', {}, trans.__('That is more than is left: it cannot be confirmed.'))));
  parts.push(el('p', {}, p.then));
  return [...parts, returned(p, trans)];
}

// Why something would be returned, as the rules see it on the twin.
export function returned(p, trans) {
  const found = p.outputs.flatMap(o => o.findings.map(f => [o, f]));
  if (!p.outputs.length) return el('p', {}, trans.__('No output without noise: there is nothing that a rule could object to.'));
  if (!found.length) return el('p', {}, trans.__('No rule found anything on the twin. What needs eyes is for the output checkers.'));
  return el('div', {}, el('p', { class: p.returned.length ? 'tre-fail' : '' }, p.returned.length
      ? trans.__('Would be returned: %1.', p.returned.join(', '))
      : trans.__('No rule would send an output back; these need eyes:')),
    el('ul', { class: 'tre-findings' }, found.map(([o, f]) => el('li', { class: `tre-${f.verdict}` },
      el('strong', {}, f.verdict), ` ${o.name}, ${f.rule}: ${f.message}`,
      f.help.length ? el('ul', {}, f.help.map(h => el('li', {}, el('code', {}, h)))) : null))));
}

export function failure(found, trans) {
  return [el('p', { class: 'tre-fail' }, found.message), el('p', {}, trans.__('Next step: %1', found.next_step)),
    found.traceback ? el('pre', { class: 'tre-traceback', tabindex: 0, 'aria-label': trans.__('What the notebook said') }, found.traceback) : null];
}
