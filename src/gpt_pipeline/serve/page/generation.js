// Requests and the stories that they write.

import { complete } from './api.js';
import { END } from './sample.js';
import { requestOf } from './settings.js';

/** Runs requests. `onChange()` is called when one begins or ends, `onError(error)` if it fails. */
export class Generation {
  #runs = new Set();

  constructor({ onChange, onError }) {
    this.onChange = onChange;
    this.onError = onError;
  }

  /** Whether a request is under way. */
  get isRunning() {
    return this.#runs.size > 0;
  }

  /** Write all stories again, in one request; a running one is stopped. */
  start(model, settings, stories) {
    this.stop();
    return this.#run(requestOf(settings, model), stories);
  }

  /** Replace a piece of a story by an alternative and continue from it; other stories stay. */
  branch(model, story, index, alternative) {
    this.#release(story);
    story.branch(index, alternative);
    if (alternative.text === END) return undefined;
    const kept = story.sample.tokens.map(({ id }) => id);
    const max_tokens = story.settings.max_tokens - kept.length;
    if (max_tokens < 1) {
      story.begin(null);
      story.end('length');
      return undefined;
    }
    const begun = beginning(story.sample.promptIds, model);
    const prompt = inView([...begun, ...kept], model.context_length);
    return this.#run(requestOf(story.settings, model, { prompt, max_tokens, n: 1 }), [story]);
  }

  /** End every request; what has come stays. */
  stop() {
    for (const { controller } of this.#runs) controller.abort();
  }

  async #run(request, stories) {
    const run = { controller: new AbortController(), stories };
    for (const story of stories) story.begin(run);
    this.#runs.add(run);
    this.onChange();
    try {
      const events = complete(request, run.controller.signal);
      for await (const { choices = [] } of events) give(run, choices);
    } catch (error) {
      if (error.name !== 'AbortError') this.onError(error);
    } finally {
      this.#runs.delete(run);
      const reason = run.controller.signal.aborted ? 'stopped' : 'failed';
      for (const story of ownStories(run)) story.end(reason);
      this.onChange();
    }
  }

  /** Take a story from the request that writes it, which ends if it writes no other. */
  #release(story) {
    const { run } = story;
    story.run = null;
    if (run && !ownStories(run).some(({ isOpen }) => isOpen)) run.controller.abort();
  }
}

/**
 * What the model read before the story's first token: end-of-text, which the server puts
 * first, and the prompt. Ids are taken as they are, so that going on from them has to send it.
 */
function beginning(promptIds, { eot_id, add_bos_token, context_length }) {
  const isEmpty = promptIds.length === 0;
  const isAdded = isEmpty || (add_bos_token && promptIds.length < context_length);
  return isAdded ? [eot_id, ...promptIds] : promptIds;
}

/** What the model sees of many tokens: a context that is full moves on to its last half. */
function inView(ids, context) {
  const step = context + 1 - Math.max(Math.floor(context / 2), 1);
  const steps = Math.ceil(Math.max(ids.length - context, 0) / step);
  return ids.slice(steps * step);
}

function ownStories(run) {
  return run.stories.filter((story) => story.run === run);
}

function give(run, choices) {
  for (const choice of choices) {
    const story = run.stories[choice.index];
    if (story?.run === run) story.take(choice);
  }
}
