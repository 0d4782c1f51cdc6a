// One sample on the page: its text, its status, and the keys and clicks that its tokens take.

import { copy, make } from './dom.js';
import { END, Sample, probability } from './sample.js';
import { percent, surprise, visible } from './tint.js';
import { makeCurrent, tokenAt } from './tokens.js';

const REASONS = {
  waiting: 'waiting',
  writing: 'writing',
  stop: 'end of text',
  length: 'length limit',
  stopped: 'stopped',
  failed: 'interrupted',
};

const LONGEST_PROMPT = 480;
const SHOWN_OF_PROMPT = 240;

/** A card with one sample. `state` is a key of REASONS: under way, or why it ended. */
export class Story {
  /** The request that writes this story now: events of any other are not for it. */
  run = null;
  sample = new Sample();
  #spans = []; // one for each piece of the sample
  #before = null; // what the story was, until a branch has brought something
  #clock; // when its request began, with how many tokens
  #rate = 0;

  /**
   * @param {number} number from 1
   * @param {object} settings those of its request, prompt and seed too
   * @param {(story: Story, index: number, span: HTMLElement) => void} onPick a token was chosen
   */
  constructor(number, settings, onPick) {
    this.number = number;
    this.settings = settings;
    this.onPick = onPick;
    this.#build();
    this.#set('waiting');
  }

  /** Whether a request is still to bring more. */
  get isOpen() {
    return this.state === 'waiting' || this.state === 'writing';
  }

  /** Expect the events of a request. */
  begin(run) {
    this.run = run;
    this.#clock = { start: performance.now(), count: this.sample.count };
    this.#rate = 0;
    this.#set('waiting');
  }

  /** Take a choice of an event. */
  take(choice) {
    this.#before = null;
    this.#append(this.sample.add(choice));
    const seconds = (performance.now() - this.#clock.start) / 1000;
    this.#rate = (this.sample.count - this.#clock.count) / seconds;
    this.#set(choice.finish_reason ?? 'writing');
  }

  /** Nothing more comes. A story that has said why it ended keeps that. */
  end(reason) {
    if (reason === 'failed' && this.#before) this.#restore();
    else if (this.isOpen) this.#set(reason);
    this.#before = null;
  }

  /** Put an alternative in a piece's place. What came after it is gone, unless nothing follows. */
  branch(index, alternative) {
    this.#before ??= {
      state: this.isOpen ? 'stopped' : this.state,
      nodes: [...this.text.childNodes],
      spans: [...this.#spans],
      sample: this.sample.saved(),
      index,
    };
    const gone = this.#spans.splice(index);
    gone[0].previousSibling.remove(); // its space
    while (gone[0].isConnected) this.text.lastChild.remove();
    this.#append(this.sample.branch(index, alternative));
    if (alternative.text === END) {
      this.#set('stop');
      this.#before = null;
    }
    this.focus(index);
  }

  /** Focus a token, or the last one where it is not there (yet), or else the text. */
  focus(index = 0) {
    const token = this.#spans[index] ?? this.#reachable().at(-1);
    if (token) {
      this.#moveTo(token);
      return;
    }
    this.text.tabIndex = -1;
    this.text.focus();
  }

  #restore() {
    const { state, nodes, spans, sample, index } = this.#before;
    this.text.replaceChildren(...nodes);
    this.#spans = spans;
    this.sample.restore(sample);
    this.#rate = 0;
    this.#set(state);
    if ([document.body, this.text].includes(document.activeElement)) this.focus(index);
  }

  #build() {
    const title = make('h2', { id: `story-${this.number}` }, `Story ${this.number}`);
    this.status = make('p', { className: 'status' });
    const button = make('button', { type: 'button', className: 'quiet' }, 'Copy');
    button.ariaLabel = `Copy story ${this.number}`;
    button.addEventListener('click', () => copy(this.#whole(), button));
    const head = make('header', {}, title, this.status, button);
    this.text = make('div', { className: 'text', dir: 'auto' }, promptSpan(this.settings.prompt));
    this.element = make('article', { className: 'story' }, head, this.text);
    this.element.setAttribute('aria-labelledby', title.id);
    this.text.addEventListener('click', ({ target }) => {
      if (getSelection().isCollapsed) this.#pick(target); // else it was dragged over
    });
    this.text.addEventListener('keydown', (event) => this.#key(event));
  }

  #whole() {
    return this.settings.prompt + this.sample.text;
  }

  #append(pieces) {
    for (const piece of pieces) {
      // the space before a word stays outside its tint, and a line may break there
      const [space] = piece.text.match(/^ *(?=\S)/) ?? [''];
      const span = tokenSpan(piece, piece.text.slice(space.length));
      this.text.append(space, span);
      this.#spans.push(span);
      if (!this.text.querySelector('[tabindex="0"]')) makeCurrent(this.#reachable()[0]);
    }
    if (document.activeElement === this.text) this.focus(this.#spans.length); // waits for a token
  }

  #reachable() {
    return this.#spans.filter((span) => span.matches('.token'));
  }

  #set(state) {
    this.state = state;
    this.element.dataset.state = state;
    const { count } = this.sample;
    const rate = Math.round(this.#rate);
    const words = [count === 1 ? '1 token' : `${count} tokens`];
    if (rate) words.push(`${rate} tokens/s`);
    this.status.textContent = [...words, REASONS[state] ?? state].join(' · ');
  }

  #pick(target) {
    const index = this.#spans.indexOf(target.closest('.token'));
    if (index < 0) return;
    this.#moveTo(this.#spans[index]); // Escape brings the focus back to it
    this.onPick(this, index, this.#spans[index]);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('button')) return;
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault(); // the space bar would scroll
      this.#pick(event.target);
      return;
    }
    const token = tokenAt(this.#reachable(), event.target, event.key);
    if (!token) return;
    event.preventDefault();
    this.#moveTo(token);
  }

  #moveTo(token) {
    if (!token) return;
    makeCurrent(token);
    token.focus();
  }
}

/** The prompt, of a long one its end: the story is to be seen. */
function promptSpan(text) {
  const span = make('span', { className: 'prompt' });
  if (text.length <= LONGEST_PROMPT) {
    span.append(text);
    return span;
  }
  const end = text.slice(-SHOWN_OF_PROMPT).replace(/^\S*\s+/, '');
  const more = make('button', { type: 'button', className: 'more' }, 'Whole prompt');
  more.addEventListener('click', () => span.replaceChildren(text));
  span.append(more, ` … ${end}`);
  return span;
}

function tokenSpan({ text, tokens }, shown) {
  if (!tokens.length) return make('span', {}, shown); // text of which the server said no more
  // without a tabindex but for the current one: text with it cannot be selected by dragging
  const span = make('span', { className: 'token' }, shown);
  const isEnd = tokens[0]?.text === END;
  if (isEnd) span.classList.add('end');
  if (/^\n+$/.test(text)) span.classList.add('break');
  if (text === '' && !isEnd) { // bytes that make no character
    span.classList.add('bytes');
    span.dataset.bytes = tokens.map((token) => visible(token.text)).join(', ');
    shown = span.dataset.bytes;
  }
  const sum = tokens.reduce((total, token) => total + Math.log(probability(token.logprob)), 0);
  const chance = Math.exp(sum);
  span.style.setProperty('--surprise', surprise(chance).toFixed(3));
  span.dataset.label = `${visible(isEnd ? END : shown)}, ${percent(chance)}`;
  return span;
}
