// Moving between the tokens of a story with the keyboard.

/**
 * Make one token the one that Tab reaches. It alone has a button's role: were all of them
 * buttons, a screen reader could not read a story as text.
 */
export function makeCurrent(token) {
  if (!token) return;
  for (const other of token.parentElement.querySelectorAll('[tabindex="0"]')) {
    for (const name of ['tabindex', 'role', 'aria-haspopup', 'aria-label']) other.removeAttribute(name);
  }
  token.tabIndex = 0;
  token.setAttribute('role', 'button');
  token.setAttribute('aria-haspopup', 'dialog');
  token.setAttribute('aria-label', token.dataset.label);
}

/**
 * The token that a key leads to.
 * @param {HTMLElement[]} tokens those that can be reached, in their order
 * @param {HTMLElement} current one of them
 * @param {string} key as a KeyboardEvent has it
 * @returns {HTMLElement|undefined} undefined for another key, and at the end
 */
export function tokenAt(tokens, current, key) {
  const at = tokens.indexOf(current);
  if (key === 'ArrowLeft') return tokens[at - 1];
  if (key === 'ArrowRight') return tokens[at + 1];
  if (key === 'Home') return tokens[0];
  if (key === 'End') return tokens.at(-1);
  if (key === 'ArrowUp') return onNextLine(tokens, current, -1);
  if (key === 'ArrowDown') return onNextLine(tokens, current, 1);
  return undefined;
}

/** The token nearest to `current` on the line below it (direction 1) or above it (-1). */
function onNextLine(tokens, current, direction) {
  const from = current.getBoundingClientRect();
  let best;
  for (const token of tokens) {
    const box = token.getBoundingClientRect();
    const down = (box.top - from.top) * direction;
    if (down < from.height / 2) continue;
    const aside = Math.abs(box.left + box.width / 2 - from.left - from.width / 2);
    const nearer = !best || down < best.down - 1 || (down < best.down + 1 && aside < best.aside);
    if (nearer) best = { token, down, aside };
  }
  return best?.token;
}
