// The snapshot of a stream: how far it is, and what steers it.

import {get, post} from './call.js';
import {dialog, facts, h, problem, put, say, sure, table, word} from './dom.js';
import {ago, bytes, count, rate, seconds} from './format.js';

/** What is asked for: a collection with a query, or everything. */
async function wanted(stream) {
  const collection = h('input', {id: 'snapshot-collection', autocomplete: 'off', placeholder: 'all'});
  const filter = h('input', {id: 'snapshot-filter', autocomplete: 'off', placeholder: '{"status": "open"}'});
  const answer = await dialog('Take a snapshot', h('div', {},
    h('p', {}, 'Copies documents that exist already, while the stream runs.'),
    h('label', {for: 'snapshot-collection'}, 'Collection'), collection,
    h('label', {for: 'snapshot-filter'}, 'Query'), filter), [['ok', 'Start', 'main'], ['', 'Cancel', '']]);
  if (answer !== 'ok') return null;
  return {
    stream,
    ...(collection.value.trim() ? {collection: collection.value.trim()} : {}),
    ...(filter.value.trim() ? {filter: JSON.parse(filter.value)} : {}),
  };
}

export function snapshot(name, id, update) {
  const act = (what, done) => async () => {
    try { if (await what() !== null) { problem(null); say(done); } } catch (error) { problem(error.message); }
    await update();
  };
  const of = () => ({stream: id() ?? name});
  const button = (text, click) => h('button', {type: 'button', click}, text);
  const start = button('Take a snapshot…', act(async () => {
    const body = await wanted(of().stream);
    return body && post('/api/snapshots', body);
  }, 'the snapshot begins'));
  const pause = button('Pause the snapshot', act(() => post('/api/snapshots/pause', of()), 'the snapshot is paused'));
  const resume = button('Resume the snapshot', act(() => post('/api/snapshots/resume', of()), 'the snapshot continues'));
  const stop = button('Stop the snapshot', async () => {
    if (await sure('Stop', 'Stop the snapshot? What was copied stays, and it cannot be continued.', 'Stop')) {
      await act(() => post('/api/snapshots/stop', of()), 'the snapshot is stopped')();
    }
  });
  const shown = h('div', {});
  return {
    element: h('div', {}, h('h2', {}, 'Snapshot'), h('div', {class: 'row'}, start, pause, resume, stop), shown),
    async update() {
      const {snapshots} = await get('/api/snapshots');
      const now = snapshots.find(({stream}) => stream === id());
      const runs = now?.state === 'running' || now?.state === 'paused';
      pause.hidden = now?.state !== 'running';
      resume.hidden = now?.state !== 'paused';
      stop.hidden = !runs;
      if (!now) { put(shown, h('p', {class: 'faint'}, 'None has been taken here.')); return; }
      put(shown, h('p', {}, word(now.state)), facts([
        ['Id', now.id], ['Reason', now.reason], ['Started', ago(now.started)], ['Ended', now.ended && ago(now.ended)],
        ['Rows', `${count(now.rows)}, ${bytes(now.bytes)}`], ['Left out', `${count(now.leftOut)}, because the stream brought them`],
        ['Collections done', count(now.collections)], ['Rate', runs && rate(now.rate)],
        ['Time left', now.secondsLeft != null && seconds(now.secondsLeft)],
        ['Waits', now.problem && `${now.problem.text}, since ${ago(now.problem.since)}`],
      ]), now.reading.length > 0 && table('Being read', [['Collection', (row) => row.collection], ['Rows', (row) => count(row.rows), true],
        ['Of about', (row) => row.total != null && count(row.total), true],
        ['Done', (row) => row.total > 0 && `${Math.min(100, Math.round(100 * row.rows / row.total))} %`, true]], now.reading));
    },
  };
}
