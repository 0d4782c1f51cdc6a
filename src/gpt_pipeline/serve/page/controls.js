// The form's settings: a number and a slider for each.

import { make } from './dom.js';
import { FIELDS, clean, randomSeed } from './settings.js';

/** The settings' part of the form. `onEdit(name)` is called when a person changes one. */
export class Controls {
  #form;
  #onEdit;
  #good = {}; // the last allowed value of each, for a field that is left empty

  constructor(form, settings, onEdit) {
    this.#form = form;
    this.#onEdit = onEdit;
    const sliders = Object.entries(FIELDS).filter(([name]) => name !== 'n' && name !== 'seed');
    form.querySelector('#sliders').append(...sliders.map(([name, field]) => row(name, field)));
    form.querySelector('#dice').addEventListener('click', () => {
      this.write({ seed: randomSeed() });
      this.#onEdit('seed');
    });
    form.addEventListener('input', ({ target }) => this.#edited(target));
    form.addEventListener('change', ({ target }) => this.#left(target));
    this.write(settings);
  }

  /** All settings, each in its range. */
  read() {
    const { elements } = this.#form;
    const pairs = Object.keys(FIELDS).map((name) => [name, clean(name, elements[name].value)]);
    const good = Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
    return { ...this.#good, ...good, prompt: elements.prompt.value };
  }

  /** Show these settings; those not named stay. */
  write(settings) {
    for (const [name, value] of Object.entries(settings)) {
      this.#form.elements[name].value = value;
      if (name === 'prompt') continue;
      this.#good[name] = value;
      this.#slide(name, value);
    }
  }

  /** Let a slider end elsewhere, as where a model's context does. */
  scale(name, end) {
    const slider = this.#slider(name);
    slider.max = end;
    this.#slide(name, this.#good[name]);
  }

  #slider(name) {
    return this.#form.querySelector(`[data-slides="${name}"]`);
  }

  #slide(name, value) {
    const slider = this.#slider(name);
    if (!slider) return;
    slider.value = value;
    const share = (slider.value - slider.min) / (slider.max - slider.min);
    slider.style.setProperty('--share', share);
  }

  #edited(target) {
    const name = target.dataset.slides ?? target.name;
    if (name !== 'prompt' && !(name in FIELDS)) return; // the API key is no setting
    if (target.dataset.slides) this.#form.elements[name].value = target.value;
    this.#good = this.read();
    this.#slide(name, this.#good[name]);
    this.#onEdit(name);
  }

  /** A number that is out of its range moves into it once its field is left. */
  #left({ name }) {
    if (name in FIELDS) this.write({ [name]: this.read()[name] });
  }
}

function row(name, { label, hint = '', min, max, slide = max, step }) {
  const inputMode = Number.isInteger(step) ? 'numeric' : 'decimal';
  // the arrow keys go by steps; finer numbers may be typed, as the form is not validated
  const number = { type: 'number', id: name, name, min, max, step, inputMode };
  const slider = make('input', { type: 'range', min, max: slide, step });
  slider.dataset.slides = name;
  slider.ariaLabel = `${label}, slider`;
  const words = make('label', { htmlFor: name }, label, ' ', make('small', {}, hint));
  return make('div', { className: 'row' }, words, make('input', number), slider);
}
