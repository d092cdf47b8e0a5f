import { DriverError } from "@sluice/core/driver";
import type { CallOptions } from "../../src/channel.ts";
import type { Calls } from "../../src/channels.ts";
import { translate } from "../../src/errors.ts";
import type { Method } from "../../src/methods.ts";

export interface Call {
  readonly path: string;
  readonly request: unknown;
  answer(response?: unknown): void;
  fail(error: unknown): void;
}

/** Calls that a test answers. */
export class FakeCalls implements Calls {
  readonly open: Call[] = [];
  /** Every request so far, as `Method {json}`. */
  readonly log: string[] = [];

  call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    { doing, signal }: CallOptions,
  ): Promise<Response> {
    const path = method.path.slice(method.path.lastIndexOf("/") + 1);
    this.log.push(`${path} ${JSON.stringify(request)}`);
    return new Promise((resolve, reject) => {
      const call: Call = {
        path,
        request,
        answer: (response = {}) => {
          this.#forget(call);
          resolve(response as Response); // The test says what the API says.
        },
        fail: (error) => {
          this.#forget(call);
          reject(translate(error, doing));
        },
      };
      this.open.push(call);
      signal?.addEventListener("abort", () => reject(new DriverError("ABORTED", doing)), { once: true });
    });
  }

  /** The oldest open call, once there is one. */
  async next(): Promise<Call> {
    for (let turn = 0; turn < 100; turn++) {
      const [call] = this.open;
      if (call) return call;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error("no call came");
  }

  answerAll(): void {
    for (const call of this.open.slice()) call.answer();
  }

  #forget(call: Call): void {
    this.open.splice(this.open.indexOf(call), 1);
  }
}

/** What gRPC rejects with. */
export function grpcError(code: number, details = "details"): Error {
  return Object.assign(new Error(`${code}: ${details}`), { code, details });
}
