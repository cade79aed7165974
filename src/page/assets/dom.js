// Elements. Text is always set as text, so that nothing of a server is ever read as markup.

/** An element: `h('td', {class: 'number'}, 7)`. Functions become listeners, `true` an attribute without a value. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, '');
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

export const word = (text) => h('span', {class: 'word', 'data-word': text}, text);

/** A table whose columns are `[title, cell of a row, whether it is a number]`. */
export function table(caption, columns, rows, none = 'None.') {
  if (rows.length === 0) return h('div', {}, h('h3', {}, caption), h('p', {class: 'faint'}, none));
  const side = (is) => (is ? {class: 'number'} : {});
  return h('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption}, h('table', {},
    h('caption', {}, caption),
    h('thead', {}, h('tr', {}, columns.map(([title, , is]) => h('th', {scope: 'col', ...side(is)}, title)))),
    h('tbody', {}, rows.map((row) => h('tr', {}, columns.map(([, cell, is]) => h('td', side(is), cell(row) ?? '–')))))));
}

export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== false);
  return h('dl', {}, shown.map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)]));
}

/** Says something to whoever does not see the page. */
export function say(text) {
  document.getElementById('said').textContent = text;
}

/** Tells what went wrong, or that nothing is wrong any more. */
export function problem(text) {
  const place = document.getElementById('problem');
  place.textContent = text ?? '';
  place.hidden = !text;
}

/** Opens a dialog and gives what its form was answered with: the button's value, or '' where it was left. */
export function dialog(title, content, buttons) {
  return new Promise((answered) => {
    const form = h('form', {method: 'dialog'},
      h('h2', {id: 'dialog-title'}, title), content,
      h('div', {class: 'row'}, buttons.map(([value, text, look]) =>
        h('button', {value, class: look, formnovalidate: value === ''}, text))));
    const box = h('dialog', {'aria-labelledby': 'dialog-title', close: () => {
      box.remove();
      answered(box.returnValue);
    }}, form);
    document.body.append(box);
    box.showModal();
  });
}

/** Asks before something is done that cannot be undone. */
export async function sure(title, text, action) {
  return await dialog(title, h('p', {}, text), [['yes', action, 'danger'], ['', 'Cancel', '']]) === 'yes';
}

export function copy(text, what) {
  navigator.clipboard?.writeText(text).then(() => say(`${what} copied`), () => show(what, text)) ?? show(what, text);
}

function show(what, text) {
  dialog(what, h('pre', {tabindex: 0}, text), [['', 'Close', '']]);
}

/** Replaces what is shown, and leaves the focus where it was: on the element with the same `data-key`. */
export function put(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(...children.flat().filter(Boolean));
  if (focused) place.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
}
