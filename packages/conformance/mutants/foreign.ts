/** Defects that only show where other programs use the same broker. */
import { emptyHeaders } from "@sluice/core/driver";
import { eachItem, eachDelivery, type Mutant } from "./mutant.ts";

const opening = Buffer.from('{"data":');
const isMove = (to: { readonly group?: string | undefined }): boolean => to.group !== undefined;

export const foreign: readonly Mutant[] = [
  {
    name: "foreign-messages-vanish",
    defect: "accepts a record without an id of ours unseen",
    killedBy: ["IO-01", "IO-03"],
    changes: {
      receiver: (receiver) => ({
        async receive(max, signal) {
          const deliveries = await receiver.receive(max, signal);
          const strange = deliveries?.filter(({ id }) => id === undefined) ?? [];
          await receiver.settle(strange.map((delivery) => ({ delivery, accept: true })));
          return deliveries?.filter(({ id }) => id !== undefined);
        },
      }),
    },
  },
  {
    name: "one-id-for-all-foreign-messages",
    defect: "a record without an id gets the same one every time",
    killedBy: ["IO-01"],
    changes: eachDelivery((delivery) => ({ ...delivery, id: delivery.id ?? "foreign" })),
  },
  {
    name: "an-envelope-of-our-own",
    defect: "wraps every body, and takes the wrapping off again on the way in",
    killedBy: ["IO-02"],
    changes: {
      sender: (sender) => ({
        send: (items, signal) =>
          sender.send(
            items.map((item) => {
              const { body } = item.record;
              const wrapped = body && Buffer.concat([opening, body, Buffer.from("}")]);
              return { ...item, record: { ...item.record, body: wrapped } };
            }),
            signal,
          ),
      }),
      ...unwrapping(),
    },
  },
  {
    name: "binary-values-are-lost",
    defect: "a copy has only what strings can hold",
    killedBy: ["IO-03"],
    changes: eachItem(({ to, record, notBefore }) => ({ to, record, ...(notBefore !== undefined && { notBefore }) })),
  },
  {
    name: "every-body-is-json",
    defect: "deliveries say that their body is JSON, whatever the publisher said",
    killedBy: ["PL-10"],
    changes: eachDelivery((delivery) => {
      const headers = Object.assign(emptyHeaders(), delivery.headers, { "content-type": "application/json" });
      return { ...delivery, headers };
    }),
  },
  {
    name: "tombstones-become-empty",
    defect: "a copy of a record without a body has an empty one",
    killedBy: ["IO-03"],
    changes: eachItem((item) =>
      isMove(item.to) ? { ...item, record: { ...item.record, body: item.record.body ?? Buffer.alloc(0) } } : item,
    ),
  },
];

function unwrapping(): Pick<ReturnType<typeof eachDelivery>, "receiver"> {
  return eachDelivery((delivery) => {
    const { body } = delivery;
    if (!body || !Buffer.from(body).subarray(0, opening.length).equals(opening)) return delivery;
    return { ...delivery, body: body.subarray(opening.length, body.length - 1) };
  });
}
