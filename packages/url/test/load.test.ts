import { expect, test } from "vitest";
import { load } from "../src/load.ts";

async function failing(importer: () => Promise<unknown>): Promise<Error & { code?: string }> {
  return load("kafka:", "@sluice/kafka", importer).then(
    () => expect.unreachable(),
    (error: unknown) => error as Error,
  );
}

function notFound(what: string): Error {
  return Object.assign(new Error(`Cannot find package '${what}' imported from /somewhere/index.js`), {
    code: "ERR_MODULE_NOT_FOUND",
  });
}

test("a missing adapter is named, with the command that installs it", async () => {
  const error = await failing(() => Promise.reject(notFound("@sluice/kafka")));
  expect(error.code).toBe("CONFIG");
  expect(error.message).toBe(
    "url: kafka: needs the package @sluice/kafka, which is not installed; run: npm install @sluice/kafka",
  );
  expect(error.cause).toBeInstanceOf(Error);
});

test("an adapter that is there and cannot be loaded keeps its own reason", async () => {
  const error = await failing(() => Promise.reject(notFound("kafkajs")));
  expect(error.message).toMatch(/@sluice\/kafka cannot be loaded: Cannot find package 'kafkajs'/);
});

test("Node's own error has the shape that is looked for", async () => {
  const name = "@sluice/not-installed";
  const error = await load("x:", name, () => import(name)).catch((reason: unknown) => (reason as Error).cause as Error);
  expect(error).toMatchObject({
    code: "ERR_MODULE_NOT_FOUND",
    message: expect.stringContaining(`'${name}'`) as string,
  });
});
