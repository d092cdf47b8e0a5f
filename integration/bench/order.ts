/** The message of every benchmark: an order of 1 KiB as JSON. */
export interface Order {
  readonly number: number;
  readonly orderId: string;
  readonly customerId: string;
  /** `performance.now()` of the publishing process. */
  readonly sentMs: number;
  readonly total: number;
  readonly note: string;
  readonly lines: readonly {
    readonly sku: string;
    readonly title: string;
    readonly quantity: number;
    readonly price: number;
  }[];
}

const customers = 1000;
const lines = Array.from({ length: 3 }, (_, index) => ({
  sku: `sku-${1000 + index}`,
  title: `Article number ${index}, in blue`,
  quantity: 1 + (index % 3),
  price: 1999 + index,
}));
const note = "Please ring twice, and leave it with the neighbours. ".repeat(12);

export function makeOrder(number: number): Order {
  return {
    number,
    orderId: `order-${number}`,
    customerId: `customer-${number % customers}`,
    sentMs: performance.now(),
    total: 42_000 + number,
    note,
    lines,
  };
}
