import fc from "fast-check";
import { expect, test } from "vitest";
import { Lanes } from "../src/consume/lanes.ts";
import type { Work } from "../src/consume/work.ts";

interface Item {
  lane: string | undefined;
  next: Item | undefined;
  readonly sequence: number;
}

test("one at a time per key, in order, and nothing is forgotten", () => {
  const steps = fc.array(fc.oneof(fc.constantFrom("a", "b", "c", undefined), fc.constant("leave" as const)));
  fc.assert(
    fc.property(steps, fc.infiniteStream(fc.nat()), (script, choose) => {
      const lanes = new Lanes();
      const free: Item[] = [];
      const keys = new Map<Item, string | undefined>();
      const ran: Item[] = [];
      let entered = 0;
      const leave = () => {
        const [item] = free.splice((choose.next().value ?? 0) % Math.max(1, free.length), 1);
        if (!item) return;
        ran.push(item);
        const next = lanes.leave(item as unknown as Work) as unknown as Item | undefined;
        if (next) free.push(next);
      };
      for (const step of script) {
        if (step === "leave") leave();
        else {
          const item: Item = { lane: step, next: undefined, sequence: entered++ };
          keys.set(item, step);
          if (lanes.enter(item as unknown as Work)) free.push(item);
        }
        const running = free.map((item) => keys.get(item)).filter((key) => key !== undefined);
        expect(new Set(running).size).toBe(running.length);
      }
      while (free.length > 0) leave();
      expect(ran.length).toBe(entered);
      expect(lanes.size).toBe(0);
      for (const key of ["a", "b", "c"]) {
        const order = ran.filter((item) => keys.get(item) === key).map((item) => item.sequence);
        expect(order).toEqual(order.toSorted((x, y) => x - y));
      }
    }),
  );
});
