import type { Message } from "@aws-sdk/client-sqs";
import type { Delivery, DriverEvent, LostReason, SendItem } from "@sluice/core/driver";
import { type Simulation, simulation } from "@sluice/memory";
import { Polls } from "../../src/polls.ts";
import { SqsReceiver } from "../../src/receiver.ts";
import { FakeService, message } from "./service.ts";

interface Options {
  readonly queues?: readonly string[];
  readonly window?: number;
  readonly slots?: number;
  readonly waitSeconds?: number;
  readonly filter?: Record<string, string>;
}

interface Opened {
  readonly world: Simulation;
  readonly service: FakeService;
  readonly polls: Polls;
  readonly receiver: SqsReceiver;
  readonly lost: readonly { readonly bodies: string[]; readonly reason: LostReason }[];
  readonly events: readonly DriverEvent[];
  readonly copies: readonly SendItem[];
}

/** A receiver of these queues. */
export function open({ queues = ["q"], window = 100, slots = 28, waitSeconds = 20, filter }: Options = {}): Opened {
  const world = simulation();
  const { runtime } = world;
  const service = new FakeService(runtime);
  const { clients } = service;
  const lost: { readonly bodies: string[]; readonly reason: LostReason }[] = [];
  const events: DriverEvent[] = [];
  const copies: SendItem[] = [];
  const polls = new Polls({
    client: clients.polls,
    runtime,
    slots,
    waitSeconds,
    idleRequestsPerSecond: 8,
    visibilitySeconds: 30,
  });
  const receiver = new SqsReceiver({
    clients,
    runtime,
    polls,
    visibilitySeconds: 30,
    options: {
      ordered: false,
      window,
      windowBytes: 1e9,
      lost: (deliveries, reason) => lost.push({ bodies: deliveries.map(bodyOf), reason }),
    },
    send: async (items) => {
      copies.push(...items);
      return items.map(() => ({ outcome: "stored" }));
    },
    report: (event) => events.push(event),
  });
  for (const name of queues) {
    const source = { topic: name, group: "g", start: "now", ...(filter && { filter }) } as const;
    receiver.read({ name, url: `http://sqs/${name}`, fifo: name.endsWith(".fifo") }, source);
  }
  return { world, service, polls, receiver, lost, events, copies };
}

function bodyOf({ body }: Delivery): string {
  return Buffer.from(body ?? "").toString();
}

export function bodies(deliveries: readonly Delivery[] | undefined): string[] {
  return (deliveries ?? []).map(bodyOf);
}

export function letters(text: string, group?: string): Message[] {
  return Array.from(text, (letter) => message(letter, group === undefined ? {} : { group }));
}
