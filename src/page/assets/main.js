// The screens, and what keeps them up to date.

import {askToken, forgetToken, get, token} from './call.js';
import {h, problem, say} from './dom.js';
import {overview} from './overview.js';
import {stream} from './stream.js';
import {listeners} from './listeners.js';
import {jobs} from './jobs.js';
import {letters} from './letters.js';
import {tail} from './tail.js';
import {schedules} from './schedules.js';
import {instances} from './instances.js';

/** How often a screen is brought up to date, in ms. */
const EVERY = 2000;

const SCREENS = [
  ['overview', 'Overview', overview],
  ['listeners', 'Listeners', listeners],
  ['schedules', 'Schedules', schedules],
  ['jobs', 'Jobs', jobs],
  ['letters', 'Dead letters', letters],
  ['tail', 'Live tail', tail],
  ['instances', 'Instances', instances],
  ['stream', null, stream],
];

let running = new AbortController();

/** `#stream/shop` is the screen and what it is about. */
function wanted() {
  const [name, ...rest] = location.hash.slice(1).split('/').map(decodeURIComponent);
  return [SCREENS.find(([known]) => known === name) ?? SCREENS[0], rest];
}

async function show() {
  running.abort();
  running = new AbortController();
  const {signal} = running;
  const [[name, title, screen], about] = wanted();
  for (const link of document.querySelectorAll('#nav a')) {
    if (link.hash === `#${name}` || (name === 'stream' && link.hash === '#overview')) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${title ?? about[0]} · Tailwater`;
  problem(null);
  const place = document.getElementById('main');
  const made = screen({signal, about});
  place.replaceChildren(made.element);
  let failing = null;
  while (!signal.aborted) {
    try {
      await made.update();
      if (signal.aborted) return;
      if (failing) { problem(null); say('Tailwater answers again'); }
      failing = null;
    } catch (error) {
      if (signal.aborted) return;
      failing = error;
      problem(error.message);
      // Whoever did not give a token is asked again only when they say so.
      if (error.status === 401 || error.status === 403) return;
    }
    await new Promise((done) => {
      const timer = setTimeout(done, document.hidden ? EVERY * 5 : made.every ?? EVERY);
      signal.addEventListener('abort', () => { clearTimeout(timer); done(); }, {once: true});
    });
  }
}

async function head() {
  const place = document.getElementById('word');
  try {
    const {status} = await get('/health', {quiet: true}).catch((error) => {
      // Unhealthy is answered by 503, with the same body.
      if (error.status === 503) return {status: 'unhealthy'};
      throw error;
    });
    place.textContent = status;
    place.dataset.word = status;
  } catch {
    place.textContent = 'no answer';
    place.dataset.word = 'bad';
  }
  setTimeout(head, document.hidden ? 10000 : 3000);
}

const button = document.getElementById('token');
function shown() {
  button.textContent = token() ? 'Forget token' : 'Enter token';
}
button.addEventListener('click', async () => {
  if (token()) forgetToken();
  else await askToken('Reads and changes need the token of this Tailwater. It is kept in this tab only.');
  shown();
  show();
});

document.getElementById('nav').append(...SCREENS.filter(([, title]) => title)
  .map(([name, title]) => h('a', {href: `#${name}`}, title)));
addEventListener('hashchange', () => { show(); document.getElementById('main').focus({preventScroll: true}); });
setInterval(shown, 1000);
shown();
show();
head();
