// One stream.

import {get, post} from './call.js';
import {charts} from './charts.js';
import {dialog, facts, h, problem, put, say, sure, table, word} from './dom.js';
import {ago, bytes, count, millis, rate, seconds} from './format.js';
import {snapshot} from './snapshot.js';
import {troubles} from './troubles.js';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];

function steering(name, update) {
  const path = `/api/streams/${encodeURIComponent(name)}`;
  const act = (what, done) => async () => {
    try { await what(); problem(null); say(done); } catch (error) { problem(error.message); }
    await update();
  };
  const pause = h('button', {type: 'button', click: async () => {
    if (await sure('Pause', `Pause ${name}? It drains, commits and stands still. The oplog must hold what comes meanwhile.`, 'Pause')) {
      await act(() => post(`${path}/pause`), 'pausing')();
    }
  }}, 'Pause');
  const resume = h('button', {type: 'button', click: act(() => post(`${path}/resume`), 'resumed')}, 'Resume');
  const release = h('button', {type: 'button', click: async () => {
    if (await sure('Release', `Give ${name} to another instance?`, 'Release')) await act(() => post(`${path}/release`), 'released')();
  }}, 'Release');
  const move = h('button', {type: 'button', click: async () => {
    const {instances} = await get('/api/instances');
    const others = instances.filter((instance) => !instance.mine && !instance.leaving);
    if (others.length === 0) { problem('There is no other instance to move it to.'); return; }
    const to = h('select', {id: 'move-to'}, others.map(({id}) => h('option', {}, id)));
    const answer = await dialog(`Move ${name}`, h('div', {}, h('label', {for: 'move-to'}, 'To instance'), to),
      [['ok', 'Move', 'main'], ['', 'Cancel', '']]);
    if (answer === 'ok') await act(() => post(`${path}/move`, {to: to.value}), 'moving')();
  }}, 'Move…');
  const level = h('select', {id: 'level'}, LEVELS.map((name) => h('option', {selected: name === 'info'}, name)));
  const set = h('button', {type: 'button', click: act(() => post('/api/log-level', {level: level.value}), 'log level set')}, 'Set');
  const shared = h('span', {hidden: true, class: 'row'}, move, release);
  const element = h('div', {class: 'row'}, pause, resume, shared,
    h('span', {}, h('label', {for: 'level'}, 'Log level of the process'), level, ' ', set));
  return {element, follow(stream) {
    const paused = stream.state === 'paused';
    pause.hidden = paused;
    resume.hidden = !paused;
    shared.hidden = !stream.owner;
  }};
}

function rows(stream) {
  const total = new Map();
  for (const row of stream.counts) {
    const key = `${row.database}.${row.collection}`;
    const of = total.get(key) ?? {name: key, events: 0, bytes: 0, operations: []};
    of.events += row.events;
    of.bytes += row.recordBytes;
    of.operations.push(`${row.operation} ${count(row.events)}`);
    total.set(key, of);
  }
  return [...total.values()].sort((a, b) => b.events - a.events);
}

export function stream({signal, about: [name]}) {
  const drawn = charts(name, signal);
  const head = h('div', {});
  const lists = h('div', {});
  let id;
  const made = {
    async update() {
      const now = await get(`/api/streams/${encodeURIComponent(name)}`);
      steer.follow(now);
      id = now.id;
      put(head, h('p', {}, word(now.state), ' ', now.health && word(now.health)), facts([
        ['Id', now.id], ['Watches', now.filter], ['Rate', rate(now.rate)], ['Events', count(now.events)],
        ['Lag', millis(now.lagMs)], ['Last event', ago(now.lastEventAt)],
        ['Position', now.checkpoint && `${now.checkpoint.time ?? 'no time'}, tw-seq ${now.checkpoint.seq}, stored ${seconds(now.checkpoint.ageSeconds)} ago`],
        ['In flight', `${count(now.inFlightRecords)} records, ${bytes(now.inFlightBytes)}`],
        ['Oplog headroom', seconds(now.oplogHeadroomSeconds)],
        ['Owner', now.owner && `${now.owner.instance ?? 'none'}${now.owner.mine ? ' (this one)' : ''}, epoch ${now.owner.epoch}`],
        ['Hand-overs', now.owner && count(now.owner.handOvers)], ['Before', now.owner?.previous],
        ['Produced', count(now.produced)], ['Acknowledged', count(now.acknowledged)],
        ['Dead letters', now.deadLettered > 0 && h('a', {href: '#letters', 'data-key': 'letters'}, count(now.deadLettered))],
        ['Skipped', now.skipped > 0 && count(now.skipped)], ['Opened again', count(now.reconnects)],
      ]), troubles(now.troubles));
      put(lists,
        table('Connections', [['To', (row) => row.to], ['State', (row) => word(row.well ? 'healthy' : 'bad')], ['Since', (row) => ago(row.since)]], now.connections),
        table('Waits for', [['What', (row) => row.what], ['For', (row) => seconds(row.seconds)], ['Because', (row) => row.reason]], now.waiting, 'Nothing.'),
        table('Recent faults', [['Of', (row) => row.of], ['What', (row) => row.message], ['Times', (row) => count(row.times), true], ['Last', (row) => ago(row.at)]], now.faults),
        table('Events by collection, since the start', [['Collection', (row) => row.name], ['Events', (row) => count(row.events), true],
          ['Bytes of records', (row) => bytes(row.bytes), true], ['By operation', (row) => row.operations.join(', ')]], rows(now)),
        table('Records by topic, since the start', [['Topic', (row) => row.topic], ['Records', (row) => count(row.records), true],
          ['Bytes', (row) => bytes(row.bytes), true], ['Last', (row) => ago(row.lastAt)]], now.topics));
      await copied.update();
      await drawn.update();
    },
  };
  const refresh = () => made.update().catch(() => {});
  const copied = snapshot(name, () => id, refresh);
  const steer = steering(name, refresh);
  made.element = h('div', {}, h('h2', {}, `Stream ${name}`), steer.element, head, lists, copied.element, h('h2', {}, 'Last 15 minutes'), drawn.element);
  return made;
}
