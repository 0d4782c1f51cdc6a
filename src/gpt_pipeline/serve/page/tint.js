// How a probability looks: as a tint, as a number, as the words of a token.

import { END, isWhole } from './sample.js';

/**
 * How much a token stands out, from 0 (sure) to 1 (a chance of 1 % or less). By the logarithm:
 * from 100 % to 50 % is little news, from 10 % to 5 % is as much again.
 */
export function surprise(probability) {
  return Math.min(1, -Math.log(Math.max(probability, 1e-9)) / Math.log(100));
}

/** A probability for people: `37.2%`. */
export function percent(probability) {
  if (probability > 0 && probability < 0.001) return '<0.1%';
  return `${(100 * probability).toFixed(1)}%`;
}

/** A token's text where it stands alone: spaces and line ends can be seen. */
export function visible(text) {
  if (text === END) return 'end of text';
  if (!isWhole(text)) return 'part of a character';
  return text.replaceAll(' ', '␣').replaceAll('\n', '↵').replaceAll('\t', '⇥');
}
