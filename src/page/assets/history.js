// What of the listeners has changed when.

import {get} from './call.js';
import {dialog, h, table, word} from './dom.js';
import {ago} from './format.js';

const value = (json) => (json === undefined ? 'not there' : JSON.stringify(json));

/** The last changes of all, with the fields that differ. */
export function changed(changes) {
  return table('Last changes', [
    ['When', (row) => ago(row.at)], ['Listener', (row) => row.title], ['What', (row) => word(row.change)],
    ['Fields', (row) => row.fields.map(({field}) => field).join(', ')],
  ], changes, 'None since this instance was started.');
}

/** What of one listener has changed, with its values. */
export async function history(id, title) {
  const {changes} = await get(`/api/listener-changes?listener=${encodeURIComponent(id)}`);
  const values = (row) => (row.withoutValues ? `${row.fields.map(({field}) => field).join(', ')}: too large to be kept`
    : row.fields.map(({field, before, after}) => h('pre', {}, row.change === 'created' ? `${field}: ${value(after)}`
      : row.change === 'deleted' ? `${field}: ${value(before)}` : `${field}: ${value(before)} → ${value(after)}`)));
  await dialog(`History of ${title}`, table('Changes', [
    ['When', (row) => ago(row.at)], ['What', (row) => word(row.change)], ['Fields', values],
  ], changes, 'None since this instance was started.'), [['', 'Close', '']]);
}
