// JSON as YAML: block style, strings in quotes where they could be taken for something else.

const PLAIN = /^[A-Za-z_$][\w $./-]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n|~)$/i;

function scalar(value) {
  if (typeof value !== 'string') return JSON.stringify(value);
  return PLAIN.test(value) && !WORDS.test(value) && value.trim() === value ? value : JSON.stringify(value);
}

export function yaml(value, depth = 0) {
  const indent = '  '.repeat(depth);
  const nested = (inner) => inner !== null && typeof inner === 'object' && Object.keys(inner).length > 0;
  if (!nested(value)) return `${scalar(value)}\n`;
  if (Array.isArray(value)) {
    return value.map((inner) => `${indent}-${nested(inner) ? `\n${yaml(inner, depth + 1)}` : ` ${scalar(inner)}\n`}`).join('');
  }
  return Object.entries(value).map(([name, inner]) =>
    `${indent}${scalar(name)}:${nested(inner) ? `\n${yaml(inner, depth + 1)}` : ` ${scalar(inner)}\n`}`).join('');
}
