// Changes as they come: what was asked for, at a pace that a person can follow.

import {askToken, Refused, get, token} from './call.js';
import {dialog, facts, h, problem, put, say} from './dom.js';
import {clock, count} from './format.js';

/** How many changes stay in the list, and how many more a second may be put there. */
const KEPT = 500;
const A_SECOND = 50;
/** How often the list grows, in ms. */
const STEP = 250;

/** The events of a text/event-stream, from a body that is read piece by piece. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      text += value;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const event = {event: 'message', data: ''};
        for (const line of block.split('\n')) {
          const at = line.indexOf(':');
          if (at > 0) event[line.slice(0, at)] = line.slice(at + 1).trimStart();
        }
        if (event.data) yield event;
      }
    }
  } finally { reader.cancel().catch(() => {}); }
}

/** What the columns of a row say. */
const line = (change) => `${clock(change.at)}  ${change.operation.padEnd(8)} ${change.namespace}  ${change.key ?? ''}`;

async function details(change, stream) {
  const now = stream ? await get(`/api/streams/${encodeURIComponent(stream)}`).catch(() => null) : null;
  const committed = now?.checkpoint && change.seq != null && now.checkpoint.seq >= change.seq;
  const at = (millisecond) => (millisecond == null ? null : new Date(millisecond).toISOString());
  await dialog(`${change.operation} ${change.namespace}`, h('div', {},
    facts([['Topic', `${change.topic}, partition ${change.partition}, offset ${change.offset}`],
      ['Happened', at(change.changedAt)], ['Produced', at(change.producedAt)], ['Acknowledged', 'yes: it was read from Kafka'],
      ['Seen here', at(change.at)], ['Committed', now && (committed ? 'yes: the checkpoint is behind it' : 'not yet')]]),
    h('h3', {}, 'Key'), h('pre', {tabindex: 0}, change.key ?? 'none'),
    h('h3', {}, 'Headers'), facts(Object.entries(change.headers ?? {})),
    h('h3', {}, 'Value'), h('pre', {tabindex: 0}, change.value == null
      ? 'Not shown: ADMIN_SHOW_DOCUMENTS is not true.' : JSON.stringify(change.value, null, 2))), [['', 'Close', '']]);
}

export function tail({signal}) {
  const field = (id, text, input) => [input, h('span', {}, h('label', {for: id}, text), input)];
  const [stream, streamField] = field('t-stream', 'Stream', h('select', {id: 't-stream'}));
  const [collection, collectionField] = field('t-collection', 'Collection', h('input', {id: 't-collection', placeholder: 'all'}));
  const [operation, operationField] = field('t-operation', 'Operation', h('select', {id: 't-operation'},
    ['', 'insert', 'update', 'replace', 'delete', 'read', 'ddl'].map((name) => h('option', {value: name}, name || 'all'))));
  const [id, idField] = field('t-id', 'Document id', h('input', {id: 't-id', placeholder: 'all'}));
  const [where, whereField] = field('t-where', 'Filter', h('input', {id: 't-where', placeholder: '{"status": "received"}', size: 28}));
  const list = h('ol', {id: 'tail', 'aria-label': 'Changes, the newest first', tabindex: 0});
  const told = h('p', {role: 'status'});
  let waiting = [];
  let [shown, leftOut, stopped, isPaused] = [0, 0, null, false];

  const start = h('button', {type: 'button', class: 'main', click: () => { follow().catch((error) => problem(error.message)); }}, 'Start');
  const pause = h('button', {type: 'button', click: () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? 'Continue' : 'Pause';
    say(isPaused ? 'paused' : 'continued');
  }}, 'Pause');
  const stop = h('button', {type: 'button', click: () => stopped?.abort()}, 'Stop');
  pause.hidden = stop.hidden = true;

  function step() {
    const room = isPaused ? 0 : Math.ceil((A_SECOND * STEP) / 1000);
    const next = waiting.slice(-room);
    if (room > 0) {
      leftOut += waiting.length - next.length;
      shown += next.length;
      waiting = [];
      list.prepend(...next.reverse().map((change) => h('li', {}, h('button', {type: 'button',
        click: () => details(change, change.stream).catch((error) => problem(error.message))}, line(change)))));
      while (list.childElementCount > KEPT) list.lastElementChild.remove();
    } else if (waiting.length > KEPT) {
      leftOut += waiting.length - KEPT;
      waiting = waiting.slice(-KEPT);
    }
    told.textContent = `${count(shown)} shown, ${count(leftOut)} left out${isPaused ? `, ${count(waiting.length)} waiting` : ''}`;
  }

  async function follow() {
    stopped?.abort();
    stopped = new AbortController();
    const mine = stopped;
    signal.addEventListener('abort', () => mine.abort());
    const query = new URLSearchParams();
    const asked = {stream: stream.value, collection: collection.value.trim(), operation: operation.value, id: id.value.trim(), where: where.value.trim()};
    for (const [name, value] of Object.entries(asked)) if (value) query.set(name, value);
    const open = () => fetch(`/api/tail?${query}`, {signal: mine.signal, credentials: 'omit', cache: 'no-store',
      headers: token() ? {authorization: `Bearer ${token()}`} : {}});
    let answer = await open();
    if ((answer.status === 401 || answer.status === 403) && await askToken('The live tail needs the token of this Tailwater.')) answer = await open();
    if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => null));
    problem(null);
    pause.hidden = stop.hidden = false;
    put(list);
    [shown, leftOut, waiting, isPaused] = [0, 0, [], false];
    pause.textContent = 'Pause';
    const timer = setInterval(step, STEP);
    try {
      for await (const event of events(answer.body)) {
        const read = JSON.parse(event.data);
        if (event.event === 'left-out') leftOut += read.count;
        else if (event.event === 'problem') throw new Refused(503, read);
        else waiting.push({...read, at: Date.now()});
      }
      if (!mine.signal.aborted) problem('Tailwater ended the live tail; start it again.');
    } catch (error) {
      if (!mine.signal.aborted) throw error;
    } finally {
      clearInterval(timer);
      step();
      if (stopped === mine) pause.hidden = stop.hidden = true;
    }
  }

  return {
    every: 60000,
    element: h('div', {}, h('h2', {}, 'Live tail'),
      h('div', {class: 'row'}, streamField, collectionField, operationField, idField, whereField, start, pause, stop), told, list),
    async update() {
      if (stream.options.length > 0) return;
      const {streams} = await get('/api/streams');
      stream.append(...streams.filter((one) => one.configured).map((one) => h('option', {value: one.name}, one.name)));
    },
  };
}
