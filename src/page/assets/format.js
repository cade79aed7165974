// Numbers and times as people read them.

const grouped = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const fine = new Intl.NumberFormat('en', {maximumFractionDigits: 1});

export const count = (number) => (number == null ? null : grouped.format(number));
export const rate = (number) => (number == null ? null : `${fine.format(number)}/s`);

export function bytes(number) {
  if (number == null) return null;
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let at = 0;
  while (number >= 1024 && at < units.length - 1) { number /= 1024; at += 1; }
  return `${fine.format(number)} ${units[at]}`;
}

export function millis(number) {
  if (number == null) return null;
  return number < 1000 ? `${fine.format(number)} ms` : seconds(number / 1000);
}

export function seconds(number) {
  if (number == null) return null;
  if (number < 120) return `${fine.format(number)} s`;
  if (number < 7200) return `${fine.format(number / 60)} min`;
  if (number < 172800) return `${fine.format(number / 3600)} h`;
  return `${fine.format(number / 86400)} days`;
}

/** How long ago, with the time itself for who points at it. */
export function ago(text) {
  if (!text) return null;
  const element = document.createElement('time');
  element.dateTime = text;
  element.title = text;
  element.textContent = `${seconds(Math.max(0, (Date.now() - Date.parse(text)) / 1000))} ago`;
  return element;
}

/** A clock's time of the day, UTC. */
export const clock = (millisecond) => new Date(millisecond).toISOString().slice(11, 19);
