// What is wrong with a stream, and what to do.

import {dialog, h, problem, word} from './dom.js';

/** The runbook's section, in a dialog. */
async function runbook(link) {
  const [, section] = link.split('#');
  const answer = await fetch(`/page/runbook/${encodeURIComponent(section)}`, {credentials: 'omit'});
  if (!answer.ok) { problem(`${link} cannot be had`); return; }
  dialog('Runbook', h('pre', {tabindex: 0}, await answer.text()), [['', 'Close', '']]);
}

export function troubles(list) {
  if (!list?.length) return null;
  return h('ul', {class: 'troubles'}, list.map(({severity, what, remedy, runbook: link}) => h('li', {'data-word': severity},
    h('strong', {}, word(severity), ` ${what}`), h('br'), remedy ?? '', ' ',
    link && h('button', {type: 'button', 'data-key': `runbook ${what}`, click: () => runbook(link)}, 'Runbook'))));
}
