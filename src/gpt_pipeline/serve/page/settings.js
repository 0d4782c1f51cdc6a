// Settings: their ranges, how a link holds them, and what the server is asked for.

/** The numbers that a person may set. `slide` is where the slider ends, if before `max`. */
export const FIELDS = {
  temperature: {
    label: 'Temperature', hint: '0 is greedy', min: 0, max: 2, step: 0.05, initial: 0.8,
  },
  top_p: { label: 'Top-p', hint: '1 keeps all', min: 0.01, max: 1, step: 0.01, initial: 0.95 },
  top_k: {
    label: 'Top-k', hint: '0 keeps all', min: 0, max: 1000, slide: 200, step: 1, initial: 50,
  },
  min_p: { label: 'Min-p', hint: '0 keeps all', min: 0, max: 1, step: 0.01, initial: 0 },
  repetition_penalty: {
    label: 'Repetition penalty', hint: '1 is none', min: 1, max: 2, step: 0.05, initial: 1,
  },
  max_tokens: { label: 'Max tokens', min: 1, max: 2048, slide: 512, step: 1, initial: 250 },
  n: { label: 'Samples', min: 1, max: 4, step: 1, initial: 1 },
  seed: { label: 'Seed', min: 0, max: 2 ** 32 - 1, step: 1, initial: 0 },
};

/** Settings to begin with, before the server's own are known; the seed is a new one. */
export function initialSettings() {
  const numbers = Object.entries(FIELDS).map(([name, { initial }]) => [name, initial]);
  return { prompt: 'Once upon a time', ...Object.fromEntries(numbers), seed: randomSeed() };
}

/** A seed short enough to be read out. */
export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;
}

/** The allowed number nearest to what was given; undefined where that is no number. */
export function clean(name, value) {
  const { min, max, step } = FIELDS[name];
  const number = String(value).trim() === '' ? NaN : Number(value);
  if (Number.isNaN(number)) return undefined;
  const clamped = Math.min(Math.max(number, min), max);
  return Number.isInteger(step) ? Math.round(clamped) : clamped;
}

/** The good ones among settings of unknown origin, put into their ranges. */
export function cleaned(raw) {
  const names = Object.keys(FIELDS).filter((name) => raw[name] !== undefined);
  const pairs = names.map((name) => [name, clean(name, raw[name])]);
  const good = Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
  return typeof raw.prompt === 'string' ? { prompt: raw.prompt, ...good } : good;
}

/** A model's defaults as settings: for the server, null is what this page calls 0. */
export function settingsOf({ defaults = {} }) {
  const topK = defaults.top_k === null ? { top_k: 0 } : {};
  return cleaned({ ...defaults, ...topK });
}

/** Settings as a URL's fragment, without the '#'. */
export function toFragment(settings) {
  return new URLSearchParams(settings).toString();
}

/** What a URL's fragment says of settings; what it says wrongly is clamped or left out. */
export function fromFragment(fragment) {
  return cleaned(Object.fromEntries(new URLSearchParams(fragment.replace(/^#/, ''))));
}

/**
 * The request for these settings; `changes` as for going on from tokens. The model's own penalties
 * of tokens that were drawn go along, though nobody sets them here.
 */
export function requestOf(settings, model, changes = {}) {
  const all = settings.top_k === 0 || settings.top_k >= model.vocab_size;
  const top_k = all ? null : settings.top_k;
  const prompt = settings.prompt || null; // null: as at the beginning of a document
  const { presence_penalty, frequency_penalty } = model.defaults ?? {};
  const own = { model: model.id, presence_penalty, frequency_penalty };
  return { ...own, ...settings, prompt, top_k, stream: true, logprobs: 5, ...changes };
}
