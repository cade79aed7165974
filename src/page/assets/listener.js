// The form of one listener, and its filter tried on the last events.

import {call, post} from './call.js';
import {h, put, table, word} from './dom.js';
import {ago} from './format.js';

const OPERATIONS = ['insert', 'update', 'replace', 'delete'];
/** Fields with a place of their own; the others are written as JSON. */
const OWN = ['collection', 'jobName', 'operationType', 'filter', 'isActive'];

/** What its users own: without what Tailwater writes. */
export function owned({status, lockInfo, ...document}) {
  return document;
}

/** Reads JSON, or says which field is none. */
function read(name, text, none) {
  if (text.trim() === '') return none;
  try { return JSON.parse(text); } catch (error) { throw new Error(`${name}: is not JSON: ${error.message}`); }
}

function form(document) {
  const operations = [document.operationType ?? ['insert', 'update']].flat().map((name) => String(name).toLowerCase());
  const others = Object.fromEntries(Object.entries(document).filter(([name]) => !OWN.includes(name) && !['_id', 'createdAt', 'updatedAt'].includes(name)));
  const field = {
    collection: h('input', {id: 'f-collection', required: true, value: document.collection ?? ''}),
    jobName: h('input', {id: 'f-job', required: true, value: document.jobName ?? ''}),
    filter: h('textarea', {id: 'f-filter', spellcheck: 'false', 'aria-describedby': 'f-filter-hint'}, JSON.stringify(document.filter ?? {}, null, 2)),
    others: h('textarea', {id: 'f-others', spellcheck: 'false', 'aria-describedby': 'f-others-hint'}, JSON.stringify(others, null, 2)),
    isActive: h('input', {type: 'checkbox', checked: document.isActive !== false}),
  };
  const known = [...new Set([...OPERATIONS, ...operations])];
  const boxes = known.map((name) => [name, h('input', {type: 'checkbox', checked: operations.includes(name)})]);
  const element = h('div', {},
    h('label', {for: 'f-collection'}, 'Collection'), field.collection,
    h('label', {for: 'f-job'}, 'Job'), field.jobName,
    h('fieldset', {}, h('legend', {}, 'Operations'), h('div', {class: 'row'}, boxes.map(([name, box]) => h('label', {class: 'beside'}, box, name)))),
    h('label', {for: 'f-filter'}, 'Filter'), field.filter,
    h('p', {class: 'faint', id: 'f-filter-hint'}, 'A MongoDB query as JSON, such as {"status": "received"}; {} wants all.'),
    h('label', {for: 'f-others'}, 'More fields'), field.others,
    h('p', {class: 'faint', id: 'f-others-hint'}, 'As JSON: database, documentKey, topic, priority, metadata.'),
    h('label', {class: 'beside'}, field.isActive, 'Active'));
  return {element, document() {
    return {
      ...read('More fields', field.others.value, {}),
      collection: field.collection.value.trim(),
      jobName: field.jobName.value.trim(),
      operationType: boxes.filter(([, box]) => box.checked).map(([name]) => name),
      filter: read('Filter', field.filter.value, {}),
      isActive: field.isActive.checked,
    };
  }};
}

function tried(result) {
  const id = (row) => (row.id === undefined ? `partition ${row.partition}, offset ${row.offset}` : JSON.stringify(row.id));
  return h('div', {}, h('p', {role: 'status'}, `${result.matched} of ${result.tried} ${result.topic ? `newest records of ${result.topic} match` : 'match'}.`),
    table('Tried', [
      ['Answer', (row) => word(row.matches ? 'matches' : 'no')], ['Event', (row) => `${row.operation} ${row.namespace}`], ['Document', id],
      ['Time', (row) => ago(row.time)], ['Why not', (row) => (row.reasons ?? []).join('; ') || '–'],
    ], result.results.slice(0, 50)));
}

/** Opens the form for a row of the list, or for a new listener; true once it is saved. */
export function edit(row) {
  return new Promise((done) => {
    const document = row ? owned(row.document) : {};
    const fields = form(document);
    const wrong = h('p', {role: 'alert', class: 'troubles'});
    const result = h('div', {});
    const attempt = async (what) => {
      wrong.textContent = '';
      try { return await what(); } catch (error) { wrong.textContent = error.message; return undefined; }
    };
    const tryIt = () => attempt(async () => put(result, tried(await post('/api/listeners/test', {listener: fields.document(), last: 100}))));
    const save = () => attempt(async () => {
      const body = fields.document();
      if (row) {
        for (const name of ['_id', 'createdAt']) if (document[name] !== undefined) body[name] = document[name];
        await call('PUT', `/api/listeners/${encodeURIComponent(row.id)}`, {body, headers: {'if-match': row.etag}});
      } else await call('POST', '/api/listeners', {body});
      box.close('saved');
    });
    const box = h('dialog', {'aria-labelledby': 'edit-title', close: () => { box.remove(); done(box.returnValue === 'saved'); }},
      h('h2', {id: 'edit-title'}, row ? `Edit ${row.title}` : 'New listener'),
      h('form', {submit: (event) => { event.preventDefault(); save(); }}, fields.element, wrong,
        h('div', {class: 'row'}, h('button', {class: 'main'}, 'Save'),
          h('button', {type: 'button', click: tryIt}, 'Try on the last events'),
          h('button', {type: 'button', click: () => box.close('')}, 'Cancel'))),
      result);
    globalThis.document.body.append(box);
    box.showModal();
  });
}
