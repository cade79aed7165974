// What a worker does: its jobs, what runs, what failed and is tried again, and what failed for good.

import {get, post} from './call.js';
import {dialog, h, problem, put, say, sure, table, word} from './dom.js';
import {ago, count, millis, seconds} from './format.js';

/** How often the dead letters are read again, in ms: they are in a topic. */
const FAILED_EVERY = 15000;

function until(text) {
  if (!text) return null;
  const left = (Date.parse(text) - Date.now()) / 1000;
  return h('time', {datetime: text, title: text}, left <= 0 ? 'now' : `in ${seconds(left)}`);
}

const id = (row) => h('code', {title: row.id}, row.id.length > 24 ? `${row.id.slice(0, 10)}…${row.id.slice(-12)}` : row.id);

/** The attempts that the worker here has made at a job. */
async function attempts(row) {
  const tried = await get(`/api/jobs/${encodeURIComponent(row.id)}`).catch((error) => {
    if (error.status !== 404) throw error;
    return error.message;
  });
  const content = typeof tried === 'string' ? h('p', {}, tried) : h('div', {},
    h('p', {}, word(tried.state), tried.due ? [' tried again ', until(tried.due)] : ''),
    table('Attempts', [
      ['Attempt', (one) => one.number, true], ['Began', (one) => ago(one.at)], ['Took', (one) => millis(one.tookMs), true],
      ['Answer', (one) => one.status, true], ['What came of it', (one) => (one.reason ? `${one.reason}: ${one.detail}` : 'done')],
    ], tried.attempts, 'None: it could not be tried.'));
  await dialog(`Job ${row.id}`, h('div', {}, row.detail ? h('p', {}, row.detail) : '', content), [['', 'Close', '']]);
}

export function jobs() {
  const chosen = new Set();
  const [place, failedPlace, result] = [h('div', {}), h('div', {}), h('div', {})];
  let read = 0;
  const told = (error) => problem(error.message);
  const look = (row) => h('button', {type: 'button', 'data-key': `attempts ${row.place ?? `${row.partition}/${row.offset}`}`,
    'aria-label': `Attempts of ${row.id}`, click: () => attempts(row).catch(told)}, 'Attempts');

  /** Has those with these ids done again, or all that were not yet: as many calls as it takes. */
  async function retry(ids) {
    const what = ids === null ? 'all failed jobs that were not retried here yet' : `${ids.length} failed ${ids.length === 1 ? 'job' : 'jobs'}`;
    if (!await sure('Retry', `Have ${what} done again? Their dead letters stay in their topic.`, 'Retry')) return;
    let [sum, refused] = [0, []];
    try {
      for (let left = 1; left > 0;) {
        const answer = await post('/api/jobs/failed/retry', ids === null ? {all: true, limit: 1000} : {ids, limit: 1000});
        sum += answer.retried;
        refused = answer.refused;
        // The same would be refused again and again; and those that are named are named once.
        left = ids === null && answer.retried > 0 ? answer.left : 0;
        put(result, h('p', {role: 'status'}, `${count(sum)} retried.`),
          refused.length > 0 && table('Refused', [['Job', id], ['Why', (row) => row.why]], refused.slice(0, 50)));
      }
      problem(null);
      say('retried');
      chosen.clear();
    } catch (error) { told(error); }
    read = 0;
    await made.update().catch(told);
  }

  async function showFailed() {
    const {topic, count: all, failed} = await get('/api/jobs/failed?limit=100');
    const bulk = h('button', {type: 'button', 'data-key': 'bulk', disabled: chosen.size === 0, click: () => retry([...chosen])}, 'Retry the chosen');
    const box = (row) => h('input', {type: 'checkbox', checked: chosen.has(row.id), 'data-key': `choose ${row.partition}/${row.offset}`,
      'aria-label': `Choose ${row.id}`, change: (event) => {
        if (event.target.checked) chosen.add(row.id); else chosen.delete(row.id);
        bulk.disabled = chosen.size === 0;
      }});
    put(failedPlace,
      h('div', {class: 'row'}, bulk,
        h('button', {type: 'button', 'data-key': 'all', disabled: failed.length === 0, click: () => retry(null)}, 'Retry all')),
      table(`Failed for good, in ${topic}${all > failed.length ? `: the last ${failed.length} of ${count(all)}` : ''}`, [
        ['Choose', box], ['Job', (row) => row.job], ['Id', id], ['Reason', (row) => [row.reason, row.detail && h('p', {class: 'faint'}, row.detail)].filter(Boolean)],
        ['Attempts', (row) => row.attempts, true], ['Failed', (row) => ago(row.time)],
        ['Retried here', (row) => ago(row.retried)],
        ['Actions', (row) => h('div', {class: 'row'}, look(row),
          h('button', {type: 'button', 'data-key': `retry ${row.partition}/${row.offset}`, 'aria-label': `Retry ${row.id}`, click: () => retry([row.id])}, 'Retry'))],
      ], failed, 'None.'));
  }

  const made = {
    element: h('div', {}, h('h2', {}, 'Jobs'), place, failedPlace, result),
    async update() {
      let shown;
      try {
        shown = await get('/api/jobs');
      } catch (error) {
        if (error.code !== 'no_worker') throw error;
        put(place, h('p', {class: 'faint'}, error.message));
        return;
      }
      const lag = Object.entries(shown.lag);
      put(place,
        h('p', {class: 'faint'}, `Worker ${shown.instance} of the group ${shown.group} is `, word(shown.isMember ? shown.state : 'joining'),
          ` with ${shown.partitions} ${shown.partitions === 1 ? 'partition' : 'partitions'}.`),
        table('Jobs', [
          ['Job', (row) => row.job || '(without a name)'], ['Calls', (row) => row.calls],
          ['Waiting', (row) => count(row.waiting), true], ['Running', (row) => count(row.active), true], ['To be tried again', (row) => count(row.parked), true],
          ['Completed', (row) => count(row.completed), true], ['Failed', (row) => count(row.failed), true], ['Retried', (row) => count(row.retried), true],
          ['From change to done', (row) => millis(row.meanMs), true], ['Held', (row) => row.held],
        ], shown.jobs, 'No job has a handler.'),
        lag.length > 0 && table('Waiting by topic', [['Topic', ([topic]) => topic], ['Jobs', ([, jobs]) => count(jobs), true]], lag),
        table(shown.runningCount > shown.running.length ? `Running: the first ${shown.running.length} of ${count(shown.runningCount)}` : 'Running', [
          ['Job', (row) => row.job], ['Id', id], ['Attempt', (row) => row.attempt, true], ['Since', (row) => ago(row.since)], ['Place', (row) => row.place],
        ], shown.running),
        table('Failed, and tried again', [
          ['Job', (row) => row.job], ['Id', id], ['State', (row) => word(row.state)], ['Next attempt', (row) => until(row.due)],
          ['Attempts', (row) => row.attempts.length, true], ['Last', (row) => row.attempts.at(-1)?.detail], ['Actions', look],
        ], shown.retrying));
      if (Date.now() - read > FAILED_EVERY) {
        read = Date.now();
        await showFailed();
      }
    },
  };
  return made;
}
