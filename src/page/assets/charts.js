// Charts of the last 15 minutes, by uPlot.

import {get} from './call.js';
import {h} from './dom.js';
import {bytes, clock, millis, rate} from './format.js';

const COLOURS = ['#0b84c5', '#c25b00', '#2a9d4a', '#a442a0', '#8f7a00', '#cc3b3b', '#5a6ee0', '#00838f'];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** What is drawn: title, how a value is written, and the series of some streams' samples. */
const KINDS = [
  {title: 'Events a second', write: rate, values: ['eventsPerSecond'], sum: true},
  {title: 'Lag', write: millis, values: ['lagMs'], sum: false},
  {title: 'Acknowledgement, p50 and p99', write: millis, values: ['acknowledgementP50Ms', 'acknowledgementP99Ms'], sum: false},
  {title: 'Bytes in flight', write: bytes, values: ['inFlightBytes'], sum: true},
];
/** More lines than this cannot be told apart: only what they are together is drawn. */
const MOST = 7;

/** Samples that are asked for piece by piece. */
export class Samples {
  constructor(stream) {
    this.path = stream ? `/api/samples?stream=${encodeURIComponent(stream)}` : '/api/samples';
    this.streams = new Map();
  }

  async more() {
    const last = Math.max(0, ...[...this.streams.values()].map((of) => of.times.at(-1) ?? 0));
    const path = last > 0 ? `${this.path}${this.path.includes('?') ? '&' : '?'}after=${last}` : this.path;
    const {streams, kept} = await get(path);
    for (const of of streams) {
      const known = this.streams.get(of.stream);
      if (!known) { this.streams.set(of.stream, of); continue; }
      for (const [name, values] of Object.entries(of)) {
        if (Array.isArray(values)) known[name] = [...known[name], ...values].slice(-kept);
      }
    }
    return this;
  }
}

/** Lines over one axis of times: each stream's, and the sum of them where there are several. */
function lines(samples, kind) {
  const all = [...samples.streams.values()].filter((of) => of.times.length > 0);
  const times = [...new Set(all.flatMap((of) => of.times))].sort((a, b) => a - b);
  const place = new Map(times.map((time, at) => [time, at]));
  const series = [];
  for (const value of kind.values) {
    const over = all.map((of) => {
      const line = new Array(times.length).fill(null);
      of.times.forEach((time, at) => { line[place.get(time)] = of[value][at]; });
      return line;
    });
    const suffix = kind.values.length > 1 ? (value.includes('P99') ? ' p99' : ' p50') : '';
    if (all.length > 1) {
      const together = times.map((_, at) => {
        const there = over.map((line) => line[at]).filter((one) => one != null);
        if (there.length === 0) return null;
        return kind.sum ? there.reduce((a, b) => a + b, 0) : Math.max(...there);
      });
      series.push([(kind.sum ? 'all' : 'highest') + suffix, together]);
    }
    if (all.length <= MOST) all.forEach((of, at) => series.push([of.stream + suffix, over[at]]));
  }
  return {times: times.map((time) => time / 1000), series};
}

class Chart {
  constructor(kind) {
    this.kind = kind;
    this.plot = null;
    this.names = '';
    this.place = h('div', {});
    this.words = h('p', {class: 'unseen'});
    this.element = h('section', {class: 'chart', 'aria-label': kind.title}, h('h3', {}, kind.title), this.words, this.place);
  }

  draw(samples) {
    const {times, series} = lines(samples, this.kind);
    const names = series.map(([name]) => name).join('\n');
    const data = [times, ...series.map(([, values]) => values)];
    this.words.textContent = series.map(([name, values]) => `${name}: ${this.kind.write(values.at(-1)) ?? 'none'}`).join('; ');
    if (this.plot && names === this.names) { this.plot.setData(data); return; }
    this.plot?.destroy();
    this.names = names;
    const axis = {stroke: colour('--faint'), grid: {stroke: colour('--line'), width: 1}, ticks: {stroke: colour('--line')}};
    const write = this.kind.write;
    this.plot = new uPlot({
      width: this.width(), height: 170, cursor: {y: false}, legend: {live: true},
      scales: {x: {time: true}, y: {range: (_, low, high) => [0, Math.max(high * 1.1, 1e-9 + (high === low ? 1 : 0))]}},
      axes: [{...axis, values: (_, all) => all.map((at) => clock(at * 1000).slice(0, 5))},
        {...axis, size: 70, values: (_, all) => all.map(write)}],
      series: [{value: (_, at) => (at == null ? '' : clock(at * 1000))}, ...series.map(([label], at) =>
        ({label, stroke: COLOURS[at % COLOURS.length], width: 1.5, spanGaps: false, value: (_, one) => write(one) ?? '–'}))],
    }, data, this.place);
  }

  width() { return Math.max(240, (this.place.clientWidth || 360) - 4); }

  resize() { this.plot?.setSize({width: this.width(), height: 170}); }

  /** Colours are read once: those of the other scheme need another drawing. */
  redraw(samples) { this.names = ''; this.draw(samples); }
}

/** Charts that move until `signal` aborts. */
export function charts(stream, signal) {
  const samples = new Samples(stream);
  const all = KINDS.map((kind) => new Chart(kind));
  const resize = new ResizeObserver(() => all.forEach((chart) => chart.resize()));
  const element = h('div', {class: 'charts'}, all.map((chart) => chart.element));
  resize.observe(element);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', () => all.forEach((chart) => chart.redraw(samples)), {signal});
  signal.addEventListener('abort', () => { resize.disconnect(); all.forEach((chart) => chart.plot?.destroy()); });
  return {element, async update() { await samples.more(); all.forEach((chart) => chart.draw(samples)); }};
}
