import { connect, topic } from "@sluice/core";
import { memory } from "@sluice/memory";

const Greeting = topic<string>("greetings", { groups: ["printers"] });
const bus = await connect(memory());
const printed = bus.settled(Greeting, { group: "printers" });
await bus.subscribe(Greeting, { group: "printers" }, (text) => console.log(text));
await bus.publish(Greeting, "hello");
await printed;
await bus.close();
