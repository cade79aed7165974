// Calls of the API. ADMIN_TOKEN is kept in the tab and nowhere else.

import {dialog, h} from './dom.js';

const KEY = 'tailwater-token';

export const token = () => sessionStorage.getItem(KEY);

export class Refused extends Error {
  constructor(status, body) {
    const fields = (body?.errors ?? []).map(({field, detail}) => `${field}: ${detail}`);
    super(fields.length > 0 ? fields.join('\n') : body?.detail ?? body?.error ?? `the answer is ${status}`);
    this.status = status;
    this.code = body?.code;
  }
}

let asking = null;

/** Asks for the token once, however many calls need it. False where it is not given. */
export function askToken(text) {
  asking ??= (async () => {
    const input = h('input', {id: 'token-input', type: 'password', autocomplete: 'off', required: true, autofocus: true});
    const content = h('div', {}, h('p', {}, text), h('label', {for: 'token-input'}, 'ADMIN_TOKEN'), input);
    const answer = await dialog('Token', content, [['ok', 'Use it', 'main'], ['', 'Cancel', '']]);
    if (answer === 'ok' && input.value) {
      sessionStorage.setItem(KEY, input.value.trim());
      return true;
    }
    return false;
  })().finally(() => { asking = null; });
  return asking;
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
}

/** Calls once, and again with a token where one is required and given. The answer's body, and its entity tag. */
export async function call(method, path, {body, headers = {}, type = 'application/json', quiet = false} = {}) {
  for (;;) {
    const known = token();
    const answer = await fetch(path, {
      method,
      headers: {
        ...headers,
        ...(known ? {authorization: `Bearer ${known}`} : {}),
        ...(body === undefined ? {} : {'content-type': type}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'omit',
      redirect: 'error',
      cache: 'no-store',
    }).catch(() => { throw new Refused(0, {detail: 'Tailwater does not answer; it may have been stopped'}); });
    const text = await answer.text();
    let read;
    try { read = text ? JSON.parse(text) : null; } catch { read = {detail: text.trim()}; }
    if (answer.ok) return {body: read, etag: answer.headers.get('etag')};
    const refused = new Refused(answer.status, read);
    // A server that listens on a loopback address answers 403 to a page with a wrong one.
    const needsToken = answer.status === 401 || (answer.status === 403 && refused.code !== 'documents_hidden');
    if (!needsToken || quiet) throw refused;
    const why = known ? 'The token is not right.' : 'This needs the token of this Tailwater.';
    // Another call may have been given a token while this one was on its way.
    if (token() !== known) continue;
    if (known) forgetToken();
    if (!await askToken(`${why} It is kept in this tab only.`)) throw refused;
  }
}

export const get = async (path, options) => (await call('GET', path, options)).body;
export const post = async (path, body = {}) => (await call('POST', path, {body})).body;
