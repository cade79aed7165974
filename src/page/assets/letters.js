// The dead letters, and producing them again.

import {get, post} from './call.js';
import {dialog, h, problem, put, say, sure, table} from './dom.js';
import {ago, bytes, count} from './format.js';

export function letters() {
  const chosen = new Set();
  const place = h('div', {});
  const result = h('div', {});
  let [offset, before] = [0, []];
  const told = (error) => problem(error.message);
  const restart = () => { chosen.clear(); [offset, before] = [0, []]; made.update().catch(told); };
  const stream = h('select', {id: 'letters-stream', change: restart});
  const path = () => `/api/streams/${encodeURIComponent(stream.value)}/dead-letters`;

  /** Produces those with these numbers again, or all: as many calls as it takes. */
  async function replay(seqs) {
    const what = seqs === null ? 'all dead letters' : `${seqs.length} ${seqs.length === 1 ? 'dead letter' : 'dead letters'}`;
    if (!await sure('Replay', `Produce ${what} again? They stay in their topic; what was replayed before arrives twice, with the same tw-id.`, 'Replay')) return;
    const [wanted, sums, refused] = [seqs === null ? {all: true} : {seq: seqs}, {replayed: 0, left: 0}, []];
    try {
      for (let from = 0; from != null;) {
        const answer = await post(`${path()}/replay`, {...wanted, offset: from, limit: 1000});
        sums.replayed += answer.replayed;
        sums.left += answer.left;
        refused.push(...answer.results.filter((one) => one.refused ?? one.unreadable));
        from = answer.next;
        put(result, h('p', {role: 'status'}, `${count(sums.replayed)} replayed, ${count(sums.left)} left.`),
          refused.length > 0 && table('Left', [['tw-seq', (row) => row.seq, true], ['Why', (row) => row.refused ?? row.unreadable]], refused.slice(0, 50)));
      }
      problem(null);
      say('replayed');
      chosen.clear();
    } catch (error) { told(error); }
    await made.update().catch(told);
  }

  async function show(row) {
    const documents = await get(`${path()}?seq=${row.seq}&documents=true`).then((page) => page.deadLetters[0]?.event, (error) => error.message);
    await dialog(`tw-seq ${row.seq ?? 'unknown'}`, h('div', {}, h('pre', {tabindex: 0}, JSON.stringify(row, null, 2)),
      h('h3', {}, 'Event'), h('pre', {tabindex: 0}, typeof documents === 'string' ? documents : JSON.stringify(documents, null, 2))), [['', 'Close', '']]);
  }

  const made = {
    every: 15000,
    element: h('div', {}, h('h2', {}, 'Dead letters'),
      h('div', {class: 'row'}, h('span', {}, h('label', {for: 'letters-stream'}, 'Stream'), stream)), place, result),
    async update() {
      if (stream.options.length === 0) {
        const {streams} = await get('/api/streams');
        stream.append(...streams.filter((one) => one.configured).map((one) => h('option', {value: one.name}, one.name)));
      }
      const page = await get(`${path()}?limit=100&offset=${offset}`).catch((error) => {
        // No topic for them is configured, or nothing was ever written there.
        if (error.status !== 409 && error.status !== 502) throw error;
        return error.message;
      });
      if (typeof page === 'string') { put(place, h('p', {}, page)); return; }
      const rows = page.deadLetters;
      const bulk = h('button', {type: 'button', 'data-key': 'bulk', disabled: chosen.size === 0, click: () => replay([...chosen])}, 'Replay the chosen');
      const box = (row) => row.seq != null && h('input', {type: 'checkbox', checked: chosen.has(row.seq), 'data-key': `choose ${row.seq}`,
        'aria-label': `Choose tw-seq ${row.seq}`, change: (event) => {
          if (event.target.checked) chosen.add(row.seq); else chosen.delete(row.seq);
          bulk.disabled = chosen.size === 0;
        }});
      const turn = (to) => { offset = to; made.update().catch(told); };
      put(place,
        h('div', {class: 'row'}, bulk,
          h('button', {type: 'button', 'data-key': 'all', disabled: rows.length === 0, click: () => replay(null)}, 'Replay all')),
        table(`Dead letters in ${page.topic}`, [
          ['Choose', box], ['tw-seq', (row) => row.seq, true], ['Event', (row) => `${row.operation ?? ''} ${row.namespace ?? ''}`],
          ['Reason', (row) => row.reason ?? row.unreadable], ['Listener', (row) => row.listener], ['Size', (row) => bytes(row.bytes), true],
          ['Written', (row) => ago(row.time)], ['Place', (row) => `${row.partition}/${row.offset}`],
          ['Actions', (row) => h('div', {class: 'row'},
            h('button', {type: 'button', 'data-key': `show ${row.partition}/${row.offset}`, 'aria-label': `Show tw-seq ${row.seq}`,
              click: () => show(row).catch(told)}, 'Show'),
            row.seq != null && h('button', {type: 'button', 'data-key': `replay ${row.seq}`, 'aria-label': `Replay tw-seq ${row.seq}`, click: () => replay([row.seq])}, 'Replay'))],
        ], rows, 'None. Every event was delivered.'),
        (before.length > 0 || page.next != null) && h('div', {class: 'row'},
          h('button', {type: 'button', 'data-key': 'before', disabled: before.length === 0, click: () => turn(before.pop())}, 'Before'),
          h('button', {type: 'button', 'data-key': 'next', disabled: page.next == null, click: () => { before.push(offset); turn(page.next); }}, 'Next')));
    },
  };
  return made;
}
