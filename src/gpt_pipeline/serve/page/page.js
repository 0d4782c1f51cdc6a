// The playground: wires the form, the requests, the stories and the link together.

import { ApiError, ConnectionLost, apiKey, keepApiKey, loadModel } from './api.js';
import { Controls } from './controls.js';
import { announce, byId, copy } from './dom.js';
import { Generation } from './generation.js';
import { Popover } from './popover.js';
import { END } from './sample.js';
import { FIELDS, fromFragment, initialSettings, settingsOf, toFragment } from './settings.js';
import { Story } from './story.js';
import { visible } from './tint.js';

const ONE_COLUMN = matchMedia('(max-width: 60rem)'); // as in page.css
const LINK_DELAY_MS = 200; // browsers refuse a page that changes its address at every key

const form = byId('form');
const linked = fromFragment(location.hash);
const touched = new Set(Object.keys(linked)); // settings that the model's defaults leave alone
const controls = new Controls(form, { ...initialSettings(), ...linked }, edited);
const popover = new Popover();
const generation = new Generation({ onChange: showProgress, onError: showError });
let linkTimer = 0;
let loading = null;
let model = null;
let stories = [];
let kept = []; // the last ones that had a text

function edited(name) {
  touched.add(name);
  clearTimeout(linkTimer);
  linkTimer = setTimeout(saveLink, LINK_DELAY_MS);
}

function saveLink() {
  clearTimeout(linkTimer);
  history.replaceState(null, '', `#${toFragment(controls.read())}`);
}

/** Wait until the model is known; one that could not be asked for is asked for again. */
function ensureModel() {
  loading ??= loadModel().then(useModel).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function useModel(answer) {
  model = answer;
  showModel();
  const defaults = Object.entries(settingsOf(model)).filter(([name]) => !touched.has(name));
  controls.write(Object.fromEntries(defaults));
  controls.scale('max_tokens', Math.min(model.context_length, FIELDS.max_tokens.max));
}

function showModel() {
  const count = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
  const whole = new Intl.NumberFormat('en');
  byId('model').textContent = model.id;
  byId('parameters').textContent = count.format(model.parameters);
  byId('context').textContent = `${whole.format(model.context_length)} tokens`;
  byId('vocabulary').textContent = `${whole.format(model.vocab_size)} tokens`;
  byId('facts').hidden = false;
  document.title = `${model.id} · gpt-pipeline`;
}

async function generate() {
  popover.close();
  showError(null);
  try {
    await ensureModel();
  } catch (error) {
    showError(error);
    return;
  }
  const settings = controls.read();
  saveLink();
  const mine = Array.from({ length: settings.n }, (_, i) => new Story(i + 1, settings, offer));
  if (stories.some(hasText)) kept = stories;
  show(mine);
  if (ONE_COLUMN.matches) byId('stories').scrollIntoView();
  announce(mine.length === 1 ? 'Writing a story.' : `Writing ${mine.length} stories.`);
  await generation.start(model, settings, mine);
  const isInVain = mine.every((story) => !hasText(story) && ['failed', 'stopped'].includes(story.state));
  if (stories === mine && isInVain) show(kept); // nothing came: what was there is not lost
}

function hasText({ sample }) {
  return sample.pieces.length > 0;
}

function show(shown) {
  stories = shown;
  byId('stories').replaceChildren(...stories.map(({ element }) => element));
  byId('welcome').hidden = stories.length > 0;
  byId('to-stories').hidden = stories.length === 0;
}

function offer(story, index, span) {
  const [token] = story.sample.pieces[index].tokens;
  popover.open(span, token, (alternative) => {
    showError(null);
    const isEnd = alternative.text === END;
    const words = isEnd ? 'ends there' : `continues from ${visible(alternative.text)}`;
    announce(`Story ${story.number} ${words}.`);
    generation.branch(model, story, index, alternative);
  });
}

function showProgress() {
  const stop = byId('stop');
  if (!generation.isRunning && document.activeElement === stop) byId('generate').focus();
  stop.disabled = !generation.isRunning;
  if (generation.isRunning) return;
  const count = stories.reduce((sum, { sample }) => sum + sample.count, 0);
  const ends = new Set(stories.map(({ state }) => state));
  if (ends.has('failed')) return; // the error is said by itself
  announce(`${ends.has('stopped') ? 'Stopped' : 'Done'}: ${count} tokens.`);
}

function showError(error) {
  byId('error').textContent = error ? explain(error) : '';
  if (error?.status === 401) {
    byId('key-row').hidden = false;
    byId('key').focus();
  }
}

function explain(error) {
  if (error instanceof ConnectionLost) return 'No connection to the server. Is it still running?';
  if (error.status === 401 && !apiKey()) return 'The server asks for an API key.';
  if (error.status === 401) return 'The server does not accept this API key.';
  if (error instanceof ApiError) return error.message;
  setTimeout(() => { throw error; }); // a bug of this page: the console has it
  return `Something went wrong: ${error.message}`;
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  generate();
});
byId('prompt').addEventListener('keydown', (event) => {
  const isAsked = event.key === 'Enter' && (event.ctrlKey || event.metaKey);
  if (isAsked && !event.repeat) form.requestSubmit();
});
byId('stop').addEventListener('click', () => generation.stop());
byId('to-stories').addEventListener('click', () => stories[0]?.focus());
byId('link').addEventListener('click', ({ target }) => {
  saveLink();
  copy(location.href, target);
});
byId('key').value = apiKey();
byId('key').addEventListener('input', ({ target }) => keepApiKey(target.value.trim()));
byId('key').addEventListener('change', () => {
  showError(null);
  ensureModel().catch(showError);
});
addEventListener('hashchange', () => {
  const others = model ? settingsOf(model) : {};
  controls.write({ ...initialSettings(), ...others, ...fromFragment(location.hash) });
});
new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty('--bar', `${target.offsetHeight}px`);
}).observe(document.querySelector('.actions'));
if (ONE_COLUMN.matches) byId('settings').open = false;
ensureModel().catch(showError);
