// @grafana/data expects a browser, of which it only wants to know that it is there: it draws nothing here.

const element = () => ({
  appendChild() {},
  setAttribute() {},
  style: {},
  sheet: { insertRule() {}, cssRules: [] },
});
globalThis.window = {
  addEventListener() {},
  localStorage: { getItem: () => null, setItem() {}, removeItem() {} },
  history: { pushState() {}, replaceState() {} },
  location: {},
};
globalThis.navigator ??= { language: "en-US", languages: ["en-US"] }; // newer versions of Node have one
globalThis.document = {
  createElement: element,
  createTextNode: element,
  head: element(),
  documentElement: element(),
  getElementsByTagName: () => [element()],
};
