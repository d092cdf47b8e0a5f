import { defineConfig, type ViteUserConfig } from "vitest/config";

const conditions = ["@sluice/source"];

/** They type-check and run every snippet of the documents, each in a process of its own. */
const documents = ["test/docs.test.ts"];

/** They start an embedded database, which takes seconds of processor time. */
const slow = ["packages/*/test/**/*.slow.test.ts"];

/** They register something with the whole process, such as a tracer. */
const globals = ["packages/otel/test/**/*.test.ts"];

const config: ViteUserConfig = defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    retry: 0,
    // The default leaves a core to somebody who watches: on two cores that would be half the machine.
    maxWorkers: "100%",
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["packages/*/test/**/*.test.ts", "test/**/*.test.ts"],
          exclude: [...globals, ...slow, ...documents],
          // Files share what they import: the sources keep no state in modules, and importing is a third of the time.
          isolate: false,
          testTimeout: 10_000,
          // One project after the other: brokers and unit tests would take the time from each other.
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: "unit-globals", include: globals, testTimeout: 10_000, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: "documents", include: documents, sequence: { groupOrder: 1 } },
      },
      {
        extends: true,
        test: {
          name: "integration",
          sequence: { groupOrder: 2 },
          include: ["integration/test/**/*.test.ts", ...slow],
          globalSetup: ["integration/test/setup.ts"],
          pool: "forks",
          // They wait more than they work. More at a time would starve the brokers.
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 240_000,
        },
      },
    ],
  },
});

export default config;
