import { expect, test } from "vitest";

import { News } from "./news.js";

const never = new AbortController().signal;

test("what happens between looking and waiting is not slept through", async () => {
  const news = new News();
  const { count } = news;
  news.committed(1);
  await news.next(count, never);
  expect(news.isAwaited).toBe(false);
});

test("a commit that is known already is no news, an older store is", async () => {
  const news = new News();
  news.committed(5);
  const { count } = news;
  news.committed(5);
  news.committed(4);
  news.found(5);
  expect(news.count).toBe(count);
  const waiting = news.next(count, never);
  expect(news.isAwaited).toBe(true);
  news.found(3);
  await waiting;
  expect(news.count).toBe(count + 1);
});

test("an aborted watcher waits no more", async () => {
  const news = new News();
  const abort = new AbortController();
  const waiting = news.next(news.count, abort.signal);
  abort.abort();
  await waiting;
  expect(news.isAwaited).toBe(false);
  await news.next(news.count, abort.signal);
});
