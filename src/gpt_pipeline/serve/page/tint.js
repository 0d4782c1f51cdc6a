// How a probability looks: as a tint, as a number, as the words of a token.

import { END, isWhole } from './sample.js';

/**
 * How much a token stands out, from 0 (sure) to 1 (a chance of 0.1 % or less). By the logarithm:
 * from 10 % to 5 % is as much news as from 100 % to 50 %. The root lets small news be seen too.
 */
export function surprise(probability) {
  return Math.min(1, -Math.log(Math.max(probability, 1e-9)) / Math.log(1000)) ** 0.6;
}

/** A probability for people: `37.2%`. */
export function percent(probability) {
  if (probability > 0 && probability < 0.001) return '<0.1%';
  return `${(100 * probability).toFixed(1)}%`;
}

/** The bytes of a token that is no whole character, as in `byte F0 9F`. */
function bytesOf(text) {
  const found = [...text.matchAll(/\\x([0-9a-f]{2})/g)].map(([, digits]) => digits.toUpperCase());
  return found.length ? `byte ${found.join(' ')}` : undefined;
}

/** A token's text where it stands alone: spaces and line ends can be seen. */
export function visible(text) {
  if (text === END) return 'end of text';
  if (!isWhole(text)) return bytesOf(text) ?? 'part of a character';
  return text.replaceAll(' ', '␣').replaceAll('\n', '↵').replaceAll('\t', '⇥');
}
