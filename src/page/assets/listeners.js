// The listeners: how each does, and what sets them up.

import {call, get} from './call.js';
import {copy, dialog, h, problem, put, say, sure, table, word} from './dom.js';
import {ago, count} from './format.js';
import {changed, history} from './history.js';
import {edit, owned} from './listener.js';
import {yaml} from './yaml.js';

/** A page of them. */
const LIMIT = 100;

/** How a listener does in all streams together. */
function doing({document: {status}}) {
  const all = Object.values(status?.streams ?? {});
  const sum = (name) => all.reduce((total, of) => total + Number(of[name] ?? 0), 0);
  const last = all.map((of) => date(of.lastEventAt)).filter(Boolean).sort().at(-1);
  return {matched: sum('matched'), produced: sum('produced'), last};
}

/** A time as relaxed Extended JSON has it. */
function date(value) {
  const inner = value?.$date ?? value;
  if (inner == null) return null;
  return typeof inner === 'object' ? new Date(Number(inner.$numberLong)).toISOString() : inner;
}

const path = (row) => `/api/listeners/${encodeURIComponent(row.id)}`;

function curl(row) {
  const body = JSON.stringify(owned(row.document)).replaceAll("'", "'\\''");
  return `curl -X PUT "$TAILWATER${path(row)}" -H "authorization: Bearer $ADMIN_TOKEN" -H 'if-match: ${row.etag}' \\\n  -H 'content-type: application/json' -d '${body}'`;
}

export function listeners() {
  let asked = {state: '', collection: ''};
  let offset = 0;
  const state = h('select', {id: 'state', change: () => { asked.state = state.value; offset = 0; made.update().catch(told); }},
    ['', 'active', 'disabled', 'invalid'].map((name) => h('option', {value: name}, name || 'all')));
  const collection = h('input', {id: 'collection', change: () => { asked.collection = collection.value; offset = 0; made.update().catch(told); }});
  const place = h('div', {});
  const told = (error) => problem(error.message);

  const act = async (what, done) => {
    try { await what(); problem(null); say(done); } catch (error) { told(error); }
    await made.update().catch(told);
  };

  const actions = (row) => {
    const name = row.title;
    const button = (text, click, look) => h('button', {type: 'button', class: look, 'data-key': `${text} ${row.id}`,
      'aria-label': `${text} ${name}`, click}, text);
    const active = row.document.isActive !== false;
    return h('div', {class: 'row'},
      row.kind === 'listener' && button('Edit', () => edit(row).then((saved) => saved && act(async () => {}, 'saved'))),
      row.kind === 'listener' && button(active ? 'Disable' : 'Enable', () => act(() => call('PATCH', path(row), {
        // Whatever else has changed meanwhile stays.
        body: {isActive: !active}, type: 'application/merge-patch+json',
      }), active ? 'disabled' : 'enabled')),
      button('Copy', async () => {
        const forms = {json: () => JSON.stringify(owned(row.document), null, 2), yaml: () => yaml(owned(row.document)), curl: () => curl(row)};
        const form = await dialog(`Copy ${name}`, h('p', {}, 'As what?'), [['json', 'JSON', ''], ['yaml', 'YAML', ''], ['curl', 'curl', ''], ['', 'Cancel', '']]);
        if (form) copy(forms[form](), form.toUpperCase());
      }),
      button('History', () => history(row.id, name).catch(told)),
      button('Delete', async () => {
        if (await sure('Delete', `Delete ${name}? It gets no more records from its own place in the stream on.`, 'Delete')) {
          await act(() => call('DELETE', path(row), {headers: {'if-match': row.etag}}), 'deleted');
        }
      }, 'danger'));
  };

  const made = {
    element: h('div', {}, h('h2', {}, 'Listeners'),
      h('div', {class: 'row'},
        h('button', {type: 'button', class: 'main', click: () => edit(null).then((saved) => saved && act(async () => {}, 'created'))}, 'New listener'),
        h('span', {}, h('label', {for: 'state'}, 'State'), state),
        h('span', {}, h('label', {for: 'collection'}, 'Collection'), collection)),
      place),
    async update() {
      const query = new URLSearchParams({limit: LIMIT, offset});
      for (const [name, value] of Object.entries(asked)) if (value) query.set(name, value);
      const page = await get(`/api/listeners?${query}`).catch((error) => {
        if (error.code !== 'no_listeners') throw error;
        return null;
      });
      if (page === null) { put(place, h('p', {}, 'LISTENERS_COLLECTION is not set: see docs/listeners.md.')); return; }
      const {changes} = await get('/api/listener-changes?limit=20');
      const rows = page.listeners.map((row) => ({...row, doing: doing(row)}));
      put(place,
        table(`${count(page.total)} in ${page.at}`, [
          ['Listener', (row) => row.title],
          ['State', (row) => h('div', {}, word(row.state), row.reason && h('div', {}, row.reason))],
          ['Operations', (row) => [row.document.operationType ?? []].flat().join(', ')],
          ['Matched', (row) => count(row.doing.matched), true], ['Produced', (row) => count(row.doing.produced), true],
          ['Last event', (row) => ago(row.doing.last)], ['Owner', (row) => row.document.lockInfo?.instanceId],
          ['Changed', (row) => ago(date(row.document.updatedAt) ?? date(row.document.createdAt))],
          ['Actions', actions],
        ], rows, 'None. The first one makes records as soon as it is saved.'),
        page.total > LIMIT && h('div', {class: 'row'},
          h('button', {type: 'button', 'data-key': 'before', disabled: offset === 0, click: () => { offset = Math.max(0, offset - LIMIT); made.update().catch(told); }}, 'Before'),
          h('span', {}, `${offset + 1}–${Math.min(offset + LIMIT, page.total)} of ${page.total}`),
          h('button', {type: 'button', 'data-key': 'next', disabled: offset + LIMIT >= page.total, click: () => { offset += LIMIT; made.update().catch(told); }}, 'Next')),
        changed(changes));
    },
  };
  return made;
}
