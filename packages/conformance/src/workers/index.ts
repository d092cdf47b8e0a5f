import type { Harness } from "../harness.ts";
import type { Ledger } from "../ledger.ts";
import { consumerWorker } from "./consumer.ts";
import { hygieneWorker } from "./hygiene.ts";
import { pipelineWorker } from "./pipeline.ts";
import { producerWorker } from "./producer.ts";

export interface WorkerParts {
  readonly harness: Harness;
  readonly ledger: Ledger;
  readonly run: string;
  /** Resolves when the worker is asked to close in order. */
  readonly stopped: Promise<void>;
  readonly options: Readonly<Record<string, unknown>>;
  /** How this worker dies on purpose. @default process.abort */
  readonly die?: () => void;
  /** Aborts when this worker died in this process: nothing of it may go on. */
  readonly dead?: AbortSignal;
  /** Shown to the broker; names the connection that an in-process death cuts. @default the ledger's process */
  readonly clientName?: string;
}

/** What a child process can run, by name. Data in, ledger out: closures cannot cross a process boundary. */
export const workers: Readonly<Record<string, (parts: WorkerParts) => Promise<void>>> = {
  consumer: consumerWorker,
  producer: producerWorker,
  hygiene: hygieneWorker,
  pipeline: pipelineWorker,
};
