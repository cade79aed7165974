// Who runs, and what each has.

import {get} from './call.js';
import {h, put, table, word} from './dom.js';
import {ago} from './format.js';

export function instances() {
  const place = h('div', {});
  return {
    element: h('div', {}, h('h2', {}, 'Instances'), place),
    async update() {
      const {shared, unreachable, instances: all} = await get('/api/instances');
      const {streams} = await get('/api/streams');
      const owned = streams.filter((stream) => stream.owner);
      put(place,
        h('p', {class: 'faint'}, shared ? 'These instances share the streams.' : 'This instance shares nothing: COORDINATION=none.'),
        unreachable && h('p', {role: 'alert'}, `As last seen; ${unreachable}`),
        table('Instances', [
          ['Instance', (row) => `${row.id}${row.mine ? ' (this one)' : ''}`], ['State', (row) => word(row.leaving ? 'leaving' : 'running')],
          ['Version', (row) => row.version], ['Since', (row) => ago(row.since)], ['Last heartbeat', (row) => ago(row.lastHeartbeat)],
          ['Streams', (row) => row.streams.join(', ') || 'none: it stands by'],
        ], all),
        shared && table('Leases', [
          ['Stream', (row) => h('a', {href: `#stream/${encodeURIComponent(row.name)}`, 'data-key': row.id}, row.name)],
          ['Owner', (row) => row.owner.instance ?? word('unowned')], ['Since', (row) => ago(row.owner.since)],
          ['Epoch', (row) => row.owner.epoch, true], ['Hand-overs', (row) => row.owner.handOvers, true],
          ['Before', (row) => row.owner.previous], ['On its way to', (row) => row.owner.movingTo],
        ], owned));
    },
  };
}
