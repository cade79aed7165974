// Jobs that are due at a time: how each schedule is, and when it is due next.

import {get, post} from './call.js';
import {h, problem, put, say, sure, table, word} from './dom.js';
import {ago, count, seconds} from './format.js';

/** How long until then, with the time itself for who points at it. */
function until(text) {
  if (!text) return null;
  const left = (Date.parse(text) - Date.now()) / 1000;
  return h('time', {datetime: text, title: text}, left <= 0 ? 'now' : `in ${seconds(left)}`);
}

async function run(name) {
  if (!await sure('Run now', `A record of ${name} is made now. When it is due next stays as it is.`, 'Run now')) return;
  try {
    const {id} = await post(`/api/schedules/${encodeURIComponent(name)}/run`);
    say(`The record ${id} was made`);
  } catch (error) { problem(error.message); }
}

export function schedules() {
  const place = h('div', {});
  return {
    element: h('div', {}, h('h2', {}, 'Schedules'), place),
    async update() {
      let listed;
      try {
        listed = await get('/api/schedules?times=3');
      } catch (error) {
        if (error.code !== 'no_schedules') throw error;
        put(place, h('p', {class: 'faint'}, error.message));
        return;
      }
      const {state, owner, schedules: all} = listed;
      put(place,
        h('p', {class: 'faint'}, 'On this instance they are ', word(state), owner ? ` Run by ${owner}.` : ''),
        table('Schedules', [
          ['Name', (row) => row.name], ['State', (row) => [word(row.state), row.reason && h('p', {class: 'faint'}, row.reason)].filter(Boolean)],
          ['When', (row) => row.timing], ['Topic', (row) => row.topic],
          ['Next', (row) => row.times.length === 0 ? null : h('div', {}, row.times.map((time) => h('div', {}, until(time))))],
          ['Last', (row) => ago(row.last)], ['Made here', (row) => count(row.produced), true],
          ['', (row) => row.state === 'active' && !row.timing.startsWith('due ')
            ? h('button', {type: 'button', 'data-key': `run-${row.id}`, 'aria-label': `Run ${row.name} now`, click: () => run(row.name)}, 'Run now') : ''],
        ], all, 'No schedule is there.'));
    },
  };
}
