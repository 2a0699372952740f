// The switch of language leads to the heading that is being read.
for (const link of document.querySelectorAll("a.language")) {
  link.addEventListener("click", () => {
    const above = [...document.querySelectorAll("article section[id]")].filter(
      (section) => section.getBoundingClientRect().top < innerHeight / 3,
    );
    link.hash = scrollY > 0 && above.length ? above.at(-1).id : "";
  });
}

// What is wider than its box can be scrolled by keyboard.
const reachByKeyboard = () => {
  for (const box of document.querySelectorAll("article pre, .table-wrapper, .output.text_html")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
addEventListener("load", reachByKeyboard);
addEventListener("resize", reachByKeyboard);
document.addEventListener("toggle", reachByKeyboard, true);

// A file cannot read another one: without a server, what is found has no excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
