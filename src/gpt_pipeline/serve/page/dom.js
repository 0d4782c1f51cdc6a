// Small helpers for elements.

/**
 * Make an element.
 * @param {string} tag its name
 * @param {object} properties of the element, as in `{ className: 'bar' }`
 * @param {...(Node|string)} children strings become text, never markup
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** The element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Have a screen reader say this when it has nothing more urgent to say. */
export function announce(text) {
  byId('announcement').textContent = text;
}

/** Put a text into the clipboard, and say so on the button that asked for it. */
export async function copy(text, button) {
  if (button.dataset.label) return; // "Copied" would be taken for the label
  button.dataset.label = button.textContent; // not disabled: it would lose the focus
  button.textContent = (await toClipboard(text)) ? 'Copied' : 'Not allowed';
  announce(button.textContent);
  setTimeout(() => {
    button.textContent = button.dataset.label;
    delete button.dataset.label;
  }, 1200);
}

async function toClipboard(text) {
  // only https and this machine's own address have navigator.clipboard
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = make('textarea', { value: text, className: 'unseen' });
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  return copied;
}
