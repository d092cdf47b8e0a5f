import type { protos } from "@google-cloud/pubsub";
import { type BroadcastSource, DriverError, type DriverEvent, type Runtime } from "@sluice/core/driver";
import type { Calls } from "./channels.ts";
import { status, statusOf } from "./errors.ts";
import { toExpression } from "./filter.ts";
import { methods } from "./methods.ts";
import { type Names, shortName, subscriptionPath, topicPath } from "./names.ts";
import type { Settings } from "./options.ts";
import { beginNow, type SubscriptionFacts } from "./provision.ts";

/** Marks subscriptions of running instances, with the time (seconds) after which they are nobody's. */
const label = "sluice-until";
/** The service expires what nobody reads after a day, its shortest time; peers are quicker. */
const expiresSeconds = 86_400;
const promiseMs = 3 * 3_600_000;
const renewMs = 3_600_000;
/** What an instance missed while it was away may be so old. */
const retentionSeconds = 3_600;

export interface BroadcastParts {
  readonly channels: Calls;
  readonly runtime: Runtime;
  readonly names: Names;
  readonly project: string;
  readonly settings: Settings;
  readonly emulator: boolean;
  report(event: DriverEvent): void;
}

/** An open broadcast subscription. */
export interface OpenBroadcast {
  readonly subscription: string;
  readonly facts: SubscriptionFacts;
  close(signal: AbortSignal): Promise<void>;
}

/** A subscription per running instance: made when it opens, deleted when it closes, renewed while it lives, swept by its peers. */
export class Broadcasts {
  readonly #parts: BroadcastParts;
  readonly #opened = new Set<string>();

  constructor(parts: BroadcastParts) {
    this.#parts = parts;
  }

  /** @throws DriverError NOT_FOUND when there is no such topic */
  async open(source: BroadcastSource): Promise<OpenBroadcast> {
    const { channels, names, project, settings } = this.#parts;
    const subscription = subscriptionPath(project, names.broadcast(source.topic, source.broadcast, source.instance));
    const filter = toExpression(source.filter);
    const doing = `cannot open broadcast "${source.broadcast}" of topic "${source.topic}"`;
    try {
      const request: protos.google.pubsub.v1.ISubscription = {
        name: subscription,
        topic: topicPath(project, names.topic(source.topic)),
        ackDeadlineSeconds: settings.leaseSeconds,
        messageRetentionDuration: { seconds: retentionSeconds },
        expirationPolicy: { ttl: { seconds: expiresSeconds } },
        labels: this.#labels(),
        ...(filter !== undefined && { filter }),
      };
      await channels.call(methods.createSubscription, request, { doing });
      if (this.#parts.emulator) await beginNow(subscription, this.#parts);
      if (this.#opened.has(subscription)) this.#reportGap(source);
    } catch (error) {
      if (statusOf(error) === status.notFound) throw noTopic(source.topic, error);
      // It outlived our connection, and kept everything meanwhile.
      if (statusOf(error) !== status.alreadyExists) throw error;
    }
    this.#opened.add(subscription);
    const cancel = this.#keepAlive(subscription);
    const facts = { leaseMs: settings.leaseSeconds * 1_000, exactlyOnce: false, ordered: false, retainAcked: false };
    return {
      subscription,
      facts,
      close: async (signal) => {
        cancel();
        this.#opened.delete(subscription);
        await this.#delete(subscription, signal);
      },
    };
  }

  /** Deletes what dead instances left. Resolves to how many. */
  async sweep(signal: AbortSignal): Promise<number> {
    const { channels, runtime, project, settings } = this.#parts;
    const doing = "cannot list subscriptions";
    let swept = 0;
    for (let pageToken = ""; ;) {
      const request = { project: `projects/${project}`, pageSize: 1_000, pageToken };
      const page = await channels.call(methods.listSubscriptions, request, { doing, signal });
      for (const { name, labels } of page.subscriptions) {
        const until = Number(labels?.[label]);
        const ours = shortName(name ?? "").startsWith(settings.prefix) && name?.endsWith("~broadcast");
        if (!ours || !name || !(until * 1_000 < runtime.wallMs())) continue;
        if (await this.#delete(name, signal)) swept++;
      }
      pageToken = page.nextPageToken;
      if (pageToken === "") return swept;
    }
  }

  #labels(): Record<string, string> {
    const { runtime, emulator } = this.#parts;
    // n.b. an emulator cannot renew a label: its instances get a day, after which everything is gone anyhow.
    const ms = emulator ? expiresSeconds * 1_000 : promiseMs;
    return { [label]: String(Math.ceil((runtime.wallMs() + ms) / 1_000)) };
  }

  #keepAlive(subscription: string): () => void {
    const { channels, runtime, emulator } = this.#parts;
    let cancel = () => {};
    const renew = async () => {
      schedule();
      const request = {
        subscription: { name: subscription, labels: this.#labels() },
        updateMask: { paths: ["labels"] },
      };
      // A renewal that fails has two more hours to succeed.
      await channels.call(methods.updateSubscription, request, { doing: "cannot renew" }).catch(() => undefined);
    };
    const schedule = () => {
      cancel = runtime.timer(renewMs, () => void renew(), { background: true });
    };
    if (!emulator) schedule();
    return () => cancel();
  }

  async #delete(subscription: string, signal: AbortSignal): Promise<boolean> {
    const doing = `cannot delete subscription "${shortName(subscription)}"`;
    return this.#parts.channels.call(methods.deleteSubscription, { subscription }, { doing, signal }).then(
      () => true,
      // What cannot be deleted now expires, or is swept.
      () => false,
    );
  }

  #reportGap(source: BroadcastSource): void {
    const detail = `google-pubsub: the subscription of broadcast "${source.broadcast}" of topic "${source.topic}" was gone; what was sent meanwhile did not reach it`;
    this.#parts.report({ kind: "gap", source, detail });
  }
}

function noTopic(topic: string, cause: unknown): DriverError {
  const text = `google-pubsub: topic "${topic}" does not exist; create it, or connect with provision: 'create'`;
  return new DriverError("NOT_FOUND", text, { cause });
}
