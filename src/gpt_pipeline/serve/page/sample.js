// One sample as data: tokens as they come, and the text of each.

/** The text of the token that ends a story. */
export const END = '<|endoftext|>';

/** A token's probability; the server's null is a logarithm of zero. */
export function probability(logprob) {
  return logprob === null ? 0 : Math.exp(logprob);
}

/** Whether a token's text is what it shows. Parts of a character come as `bytes:\xe2\x80`. */
export function isWhole(text) {
  return text !== '' && !text.startsWith('bytes:') && !text.includes('\ufffd');
}

/**
 * What a sample has so far, as pieces `{ text, tokens }`. A piece is one token, or the several
 * that spell one character. A token is `{ id, text, logprob, top }`; `top` holds alternatives
 * `{ id, text, logprob }`, best first.
 */
export class Sample {
  pieces = [];
  promptIds = null;
  count = 0; // tokens, the end of the text not among them
  #waiting = []; // tokens whose text is not known yet
  #text = ''; // text whose tokens are not known yet

  /** Take one choice of an event, and give the pieces that it completes. */
  add(choice) {
    this.promptIds ??= choice.prompt_token_ids ?? null; // of the first request: the prompt alone
    this.#await(tokensOf(choice.logprobs));
    this.#text += choice.text;
    return this.#settle(Boolean(choice.finish_reason));
  }

  /** What `restore` takes back to this moment. */
  saved() {
    return [[...this.pieces], [...this.#waiting], this.#text];
  }

  /** Be as at an earlier moment. */
  restore([pieces, waiting, text]) {
    [this.pieces, this.#waiting, this.#text] = [pieces, waiting, text];
    this.count = countOf(this.tokens);
  }

  /** Keep what is before a piece, put an alternative in its place; gives the new pieces. */
  branch(index, alternative) {
    const { top } = this.pieces[index].tokens[0];
    this.pieces.length = index;
    this.#waiting = [];
    this.count = countOf(this.tokens);
    this.#await([{ ...alternative, top }]);
    this.#text = isWhole(alternative.text) && alternative.text !== END ? alternative.text : '';
    return this.#settle(false);
  }

  /** Every token of the sample, without the prompt's. */
  get tokens() {
    return [...this.pieces.flatMap(({ tokens }) => tokens), ...this.#waiting];
  }

  /** The text after the prompt. */
  get text() {
    return this.pieces.map(({ text }) => text).join('');
  }

  #await(tokens) {
    this.#waiting.push(...tokens);
    this.count += countOf(tokens);
  }

  #settle(isLast) {
    const settled = [];
    while (this.#waiting.length) {
      const piece = this.#next(isLast);
      if (!piece) break;
      settled.push(piece);
    }
    if (!this.#waiting.length && this.#text) settled.push(this.#take(0, this.#text.length));
    this.pieces.push(...settled);
    return settled;
  }

  /** The next piece, or null where more has to come first. */
  #next(isLast) {
    const [{ text }, ...others] = this.#waiting;
    if (text === END) return this.#take(1, 0);
    if (isWhole(text) && this.#text.startsWith(text)) return this.#take(1, text.length);
    const mayCome = this.#text === '' || (isWhole(text) && text.startsWith(this.#text));
    const next = others.findIndex((other) => this.#placeOf(other) >= 0);
    if (next >= 0) return this.#take(next + 1, this.#placeOf(others[next]));
    if (mayCome && !isLast) return null;
    return this.#take(this.#waiting.length, this.#text.length);
  }

  #placeOf({ text }) {
    if (text === END) return this.#text.length;
    return isWhole(text) ? this.#text.indexOf(text) : -1;
  }

  #take(count, length) {
    const piece = { text: this.#text.slice(0, length), tokens: this.#waiting.splice(0, count) };
    this.#text = this.#text.slice(length);
    return piece;
  }
}

function countOf(tokens) {
  return tokens.filter(({ text }) => text !== END).length;
}

function tokensOf(logprobs) {
  return (logprobs?.tokens ?? []).map((text, i) => ({
    id: logprobs.token_ids[i],
    text,
    logprob: logprobs.token_logprobs[i],
    top: logprobs.top_token_ids[i].slice(0, 5).map((id, rank) => ({
      id,
      text: logprobs.top_token_texts[i][rank],
      logprob: logprobs.top_token_logprobs[i][rank],
    })),
  }));
}
