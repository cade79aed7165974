// Every stream, what is wrong with it, and the last 15 minutes of all.

import {get} from './call.js';
import {charts} from './charts.js';
import {facts, h, put, word} from './dom.js';
import {ago, bytes, count, millis, rate, seconds} from './format.js';
import {troubles} from './troubles.js';

function card(stream) {
  const owner = stream.owner && (stream.owner.mine ? 'this instance' : stream.owner.instance ?? 'none');
  return h('section', {class: 'card', 'aria-label': `Stream ${stream.name}`},
    h('h3', {}, h('a', {href: `#stream/${encodeURIComponent(stream.name)}`, 'data-key': stream.id}, stream.name),
      word(stream.state), stream.health && word(stream.health)),
    facts([
      ['Watches', stream.filter ?? stream.database],
      ['Owner', owner],
      ['Rate', rate(stream.rate)],
      ['Events', count(stream.events)],
      ['Lag', millis(stream.lagMs)],
      ['In flight', stream.inFlightBytes == null ? null : `${count(stream.inFlightRecords)} records, ${bytes(stream.inFlightBytes)}`],
      ['Checkpoint', stream.checkpoint ? `${seconds(stream.checkpoint.ageSeconds)} old` : stream.configured && 'none yet'],
      ['Oplog headroom', seconds(stream.oplogHeadroomSeconds)],
      ['Dead letters', stream.deadLettered > 0 && count(stream.deadLettered)],
      ['Listeners', stream.listeners && `${stream.listeners.active} active, ${stream.listeners.invalid} invalid`],
      ['Since', ago(stream.owner?.since)],
    ]),
    troubles(stream.troubles));
}

export function overview({signal}) {
  const cards = h('div', {class: 'cards'});
  const summary = h('p', {});
  const drawn = charts(null, signal);
  const element = h('div', {}, h('h2', {}, 'Streams'), summary, cards, h('h2', {}, 'Last 15 minutes'), drawn.element);
  return {
    element,
    async update() {
      const {streams, health, reason} = await get('/api/streams');
      put(summary, word(health), reason ? ` ${reason}` : ` ${streams.length} ${streams.length === 1 ? 'stream' : 'streams'}`);
      put(cards, ...streams.map(card));
      await drawn.update();
    },
  };
}
