// The five most likely tokens at one position, to continue from another one.

import { byId, make } from './dom.js';
import { END, isWhole, probability } from './sample.js';
import { percent, visible } from './tint.js';

const MARK = /([␣↵⇥])/; // those of visible()

/** A dialog next to a token. The browser closes it on Escape, and then focuses the token again. */
export class Popover {
  #element = byId('alternatives');
  #anchor = null;

  constructor() {
    const element = this.#element;
    element.addEventListener('keydown', (event) => this.#key(event));
    element.addEventListener('beforetoggle', () => this.#anchor?.classList.toggle('open'));
    element.addEventListener('focusout', ({ relatedTarget }) => {
      if (relatedTarget && !element.contains(relatedTarget)) this.close();
    });
    // stories that still grow above this one move its token
    new ResizeObserver(() => this.#place()).observe(document.body);
  }

  /**
   * Show the alternatives of a token.
   * @param {HTMLElement} anchor the token on the page
   * @param {object} token as in Sample
   * @param {(alternative: object) => void} onChoose one of `token.top`
   */
  open(anchor, token, onChoose) {
    this.close();
    const choices = token.top.map((alternative) => {
      const button = choice(alternative, alternative.id === token.id);
      button.addEventListener('click', () => {
        this.close();
        onChoose(alternative);
      });
      return make('li', {}, button);
    });
    const title = make('p', { className: 'chosen' }, sign(token.text), chance(token));
    title.hidden = token.top.some(({ id }) => id === token.id); // it is among them
    const hint = make('p', { className: 'hint' }, 'Choose one to continue from it.');
    this.#element.replaceChildren(title, make('ol', {}, ...choices), hint);
    this.#element.ariaLabel = `Alternatives to ${visible(token.text)}`;
    this.#anchor = anchor;
    this.#element.showPopover();
    this.#place();
    this.#buttons()[0]?.focus();
  }

  /** Close it, if it is open. */
  close() {
    if (this.#element.matches(':popover-open')) this.#element.hidePopover();
  }

  #buttons() {
    return [...this.#element.querySelectorAll('button')];
  }

  #key(event) {
    if (event.key === 'Tab') {
      event.preventDefault(); // the token has the focus again, where Tab continues
      this.close();
      return;
    }
    const buttons = this.#buttons();
    const at = buttons.indexOf(document.activeElement);
    const last = buttons.length - 1;
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last };
    if (!(event.key in moves)) return;
    event.preventDefault();
    buttons[Math.min(Math.max(moves[event.key], 0), last)].focus();
  }

  /** Below the token where there is room, else above it; never beyond the window's sides. */
  #place() {
    if (!this.#anchor || !this.#element.matches(':popover-open')) return;
    const token = this.#anchor.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#element;
    const view = document.documentElement;
    const isBelow = token.bottom + height + 16 < view.clientHeight || token.top < height + 16;
    const next = isBelow ? token.bottom + 8 : token.top - height - 8;
    // over the token where a low window has no room on either side
    const isSeen = token.bottom > 0 && token.top < view.clientHeight;
    const top = isSeen ? Math.max(Math.min(next, view.clientHeight - height - 8), 8) : next;
    const left = Math.min(Math.max(token.left - 16, 12), view.clientWidth - width - 12);
    this.#element.style.top = `${top + window.scrollY}px`;
    this.#element.style.left = `${left + window.scrollX}px`;
  }
}

function choice(alternative, isCurrent) {
  const bar = make('span', { className: 'bar' });
  bar.style.setProperty('--share', probability(alternative.logprob));
  const parts = [sign(alternative.text), bar, chance(alternative)];
  const button = make('button', { type: 'button' }, ...parts);
  if (isCurrent) button.setAttribute('aria-current', 'true'); // the style adds a check
  return button;
}

function chance({ logprob }) {
  return make('span', { className: 'chance' }, percent(probability(logprob)));
}

function sign(text) {
  const shows = isWhole(text) && text !== END;
  const parts = visible(text).split(MARK); // a mark, and what is between two, in turns
  const shown = parts.map((part, i) => (i % 2 ? make('span', { className: 'mark' }, part) : part));
  return make('span', { className: shows ? 'sign' : 'sign named' }, ...shown);
}
