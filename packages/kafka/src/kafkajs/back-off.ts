/** Of kafkajs' own retries; every member is set, because its defaults depend on NODE_ENV. */
export const backOff: {
  readonly initialRetryTime: number;
  readonly maxRetryTime: number;
  readonly factor: number;
  readonly multiplier: number;
  readonly retries: number;
} = { initialRetryTime: 100, maxRetryTime: 500, factor: 0.2, multiplier: 2, retries: 5 };
